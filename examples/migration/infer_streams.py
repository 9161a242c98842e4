"""Copies the next batch on one stream while the last one is computed on another."""

import torch
from torch import nn


def main() -> None:
    """Runs eight batches through a small network."""
    torch.manual_seed(0)
    device = torch.device("cuda:0")
    model = (
        nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8)).half().to(device).eval()
    )
    copies, compute = torch.cuda.Stream(), torch.cuda.current_stream()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    results = []
    start.record()
    with torch.inference_mode():
        for _ in range(8):
            batch = torch.randn(32, 256).half().pin_memory()
            with torch.cuda.stream(copies):
                on_card = batch.to(device, non_blocking=True)
                arrived = copies.record_event()
            compute.wait_event(arrived)
            on_card.record_stream(compute)
            results.append(model(on_card).argmax(-1))
    end.record()
    torch.cuda.synchronize()
    counts = torch.cat(results).bincount(minlength=8)
    print(f"{counts.sum().item()} answers, {counts.device.type}, half {model[0].weight.dtype}")
    print(f"time {start.elapsed_time(end):.3f} ms on {torch.cuda.get_device_name(0)}")
    print(isinstance(torch.cuda.FloatTensor([1.0]), torch.cuda.FloatTensor))


if __name__ == "__main__":
    main()
