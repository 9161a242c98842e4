"""Trains a small classifier in mixed precision and reads its checkpoint back."""

import io

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def batches() -> DataLoader:
    """Returns points of two clouds, with their labels."""
    labels = torch.arange(256) % 2
    points = torch.randn(256, 16) + 3.0 * labels[:, None]
    return DataLoader(TensorDataset(points, labels), batch_size=64, shuffle=True, pin_memory=True)


def main() -> None:
    """Trains three epochs."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 2)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = torch.cuda.amp.GradScaler()
    for epoch in range(3):
        total = torch.zeros((), device="cuda")
        for points, labels in batches():
            points, labels = points.cuda(non_blocking=True), labels.to(0, non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.float16):
                loss = nn.functional.cross_entropy(model(points), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.detach()
        print(f"epoch {epoch}: loss {total.item() / 4:.3f}")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file, map_location="cuda:0"))
    print(f"on {next(model.parameters()).device}, is_cuda {next(model.parameters()).is_cuda}")
    print(f"peak memory {torch.cuda.max_memory_allocated() > 0}")


if __name__ == "__main__":
    main()
