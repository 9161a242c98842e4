"""Profiles two steps of a training loop and writes a trace for TensorBoard."""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler


def main(folder: str) -> None:
    """Runs five steps, of which the third and the fourth are recorded."""
    write = tensorboard_trace_handler(folder)

    def report(profiler: profile) -> None:
        write(profiler)
        events = profiler.key_averages()
        print(events.table(sort_by="cuda_time_total", row_limit=5).splitlines()[1])
        print(f"linear layers: {sum(e.count for e in events if e.key == 'aten::linear')}")

    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA],
        schedule=schedule(wait=1, warmup=1, active=2),
        on_trace_ready=report,
        record_shapes=True,
    ) as profiler:
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(8, 16, 64, device="cuda")).sum().backward()
            optimizer.step()
            profiler.step()
    print(f"{len(list(Path(folder).rglob('*trace*.json')))} trace")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
