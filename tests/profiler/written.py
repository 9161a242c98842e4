"""A profile that was written, read back; and small work to profile."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import torch_npu_sim
from torch_npu_sim.profiler import (
    ProfilerLevel,
    _ExperimentalConfig,
    profile,
    tensorboard_trace_handler,
)
from torch_npu_sim.report import Kernel, Trace

LEVEL1 = {"profiler_level": ProfilerLevel.Level1}


@dataclass
class Written:
    """A folder that a handler wrote, and what the simulator's own trace says of the same time."""

    folder: Path
    trace: Trace

    def table(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / "ASCEND_PROFILER_OUTPUT" / name, newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows and all(None not in row and None not in row.values() for row in rows)
        return rows

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def timeline(self) -> list[dict[str, Any]]:
        return self.json("ASCEND_PROFILER_OUTPUT/trace_view.json")

    @property
    def names(self) -> set[str]:
        return {path.name for path in (self.folder / "ASCEND_PROFILER_OUTPUT").iterdir()}

    @property
    def on_cores(self) -> list[Kernel]:
        return [kernel for kernel in self.trace.kernels if "link" not in kernel.pipes]


def work() -> None:
    x = torch.ones(256, 128, device="npu", dtype=torch.bfloat16)
    y = x @ torch.ones(128, 64, device="npu", dtype=torch.bfloat16)
    torch.softmax(y, -1).sum().item()


def write(folder: Path, run: Callable[[], None] = work, **options: Any) -> Written:
    """Profiles `run` once, and returns what was written."""
    config = _ExperimentalConfig(**options.pop("config", {}))
    with torch_npu_sim.trace() as trace:
        with profile(
            on_trace_ready=tensorboard_trace_handler(str(folder), worker_name="me"),
            experimental_config=config,
            **options,
        ):
            run()
    (written,) = folder.iterdir()
    return Written(written, trace)


def us(text: str) -> float:
    return float(text.strip())


def spans(events: list[dict[str, Any]], category: str) -> Iterator[dict[str, Any]]:
    return (event for event in events if event["ph"] == "X" and event.get("cat") == category)
