"""Training loops on npu follow the CPU's loss curve."""

from __future__ import annotations

import copy

import torch

STEPS = 50


def make_encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return torch.nn.Sequential(torch.nn.TransformerEncoder(layer, 2), torch.nn.Linear(32, 8))


def losses(model: torch.nn.Module, device: str) -> list[float]:
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10)
    batches = torch.Generator().manual_seed(1)
    curve = []
    for _ in range(STEPS):
        tokens = torch.randn(4, 12, 32, generator=batches)
        target = tokens[..., :8].sin()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = torch.nn.functional.mse_loss(model(tokens.to(device)), target.to(device))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        curve.append(loss.item())
    return curve


def test_autocast_bf16_with_grad_scaler_follows_the_cpu_curve() -> None:
    model = make_encoder()
    npu, cpu = losses(copy.deepcopy(model), "npu"), losses(copy.deepcopy(model), "cpu")
    # bfloat16 has 8 bits of mantissa: the curves agree to a few of its units.
    torch.testing.assert_close(torch.tensor(npu), torch.tensor(cpu), rtol=2e-2, atol=2e-3)
    assert npu[-1] < 0.7 * npu[0]


def test_dropout_draws_the_same_numbers_as_the_cpu() -> None:
    x = torch.ones(64, 64)
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(torch.nn.functional.dropout(x.npu(), 0.5).cpu(), expected)
