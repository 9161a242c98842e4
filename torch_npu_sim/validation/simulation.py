"""What the simulated card takes for a case, launched as a program's kernels are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from torch_npu_sim import _C
from torch_npu_sim.validation.baseline import roofline_us
from torch_npu_sim.validation.case import Case, inputs_of
from torch_npu_sim.works.call import Kernel, Work
from torch_npu_sim.works.registry import describe_call

__all__ = ["Simulated", "simulate", "simulate_kernels"]

_PS_PER_US = 1_000_000
_DEVICE = 0
# cann-bench reads so much before each measured call.
_SWEEP_BYTES = 192 * 2**20


@dataclass(frozen=True)
class Simulated:
    """Time of a call on the simulated card."""

    duration_us: float  # of all its kernels, one after the other
    pipes_us: Mapping[str, float]
    roofline_us: float  # the slower of arithmetic and bytes at their peaks, kernel by kernel
    provenances: Mapping[str, float]  # -> us
    kernels: tuple[str, ...]

    def quantity(self, name: str) -> float:
        """Returns the duration, a pipe's busy time, or its share of the duration in percent."""
        if name == "duration":
            return self.duration_us
        if name.startswith("share:"):
            pipe = self.pipes_us.get(name.removeprefix("share:"), 0.0)
            return 100 * pipe / self.duration_us
        return self.pipes_us.get(name, 0.0)


def simulate(case: Case) -> Simulated:
    """Runs the case on a card that is its chip.

    Raises:
        NotExpressibleError: no kind of Work says what the operator does.
    """
    kernels = describe_call(case.operator, inputs_of(case), case.attributes)
    return simulate_kernels(kernels, case.chip, case.overrides, cold=case.cold)


def simulate_kernels(
    kernels: list[Kernel], chip: str, overrides: Mapping[str, float], *, cold: bool
) -> Simulated:
    """Launches the kernels on an otherwise idle card of that chip.

    Args:
        kernels: in the order of their launch, one stream.
        chip: a preset's name.
        overrides: numbers to change in it.
        cold: L2 holds other data before the call; else the same call came just before.
    """
    _C.set_chip(chip, dict(overrides), "")
    with _Addresses(kernels):
        if cold:
            _sweep()
        else:
            _run(kernels)
        records = _run(kernels)
    return _sum(records, kernels)


def _run(kernels: list[Kernel]) -> list[dict[str, object]]:
    trace = _C.start_trace()
    for kernel in kernels:
        _C.launch_work(kernel.op, kernel.work, _DEVICE)
    records: list[dict[str, object]] = _C.stop_trace(trace)["kernels"]
    return records


def _sweep() -> None:
    work: Work = {
        "kind": "row",
        "rows": _SWEEP_BYTES // 2**14,
        "columns": 2**12,
        "read": _SWEEP_BYTES,
        "written": 4,
    }
    _C.launch_work("validation::sweep", work, _DEVICE)


class _Addresses:
    """Gives every operand memory on the card for a while; its pages are never touched."""

    def __init__(self, kernels: Iterable[Kernel]) -> None:
        self._storages = {
            tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
            for kernel in kernels
            for tensor in (*kernel.reads, *kernel.writes)
        }
        self._memory: dict[int, torch.Tensor] = {}

    def __enter__(self) -> "_Addresses":
        for storage, size in self._storages.items():
            self._memory[storage] = torch.empty(size, dtype=torch.uint8, device=f"npu:{_DEVICE}")
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.clear()


def _sum(records: list[dict[str, object]], kernels: list[Kernel]) -> Simulated:
    pipes: dict[str, float] = {}
    provenances: dict[str, float] = {}
    duration = 0.0
    for record in records:
        us = _us(record["alone_ps"])
        duration += us
        kind = str(record["provenance"])
        provenances[kind] = provenances.get(kind, 0.0) + us
        for pipe, busy in _items(record["pipes_ps"]):
            pipes[pipe] = pipes.get(pipe, 0.0) + _us(busy)
    texts = tuple(f"{kernel.op}: {_C.work_text(kernel.work)}" for kernel in kernels)
    return Simulated(duration, pipes, sum(roofline_us(k.work) for k in kernels), provenances, texts)


def _us(ps: object) -> float:
    assert isinstance(ps, int)
    return ps / _PS_PER_US


def _items(value: object) -> Iterator[tuple[str, int]]:
    assert isinstance(value, dict)
    yield from value.items()
