"""What the simulated card takes for a case, launched as a program's kernels are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from torch_npu_sim import _C
from torch_npu_sim.report.kernel import Kernel as Record
from torch_npu_sim.report.roofline import roofline_us
from torch_npu_sim.report.trace import trace
from torch_npu_sim.validation.case import Case, inputs_of
from torch_npu_sim.works.call import Kernel, Work
from torch_npu_sim.works.registry import describe_call

__all__ = ["Simulated", "run_alone", "simulate", "simulate_kernels"]

_DEVICE = 0
_CUBE_PIPES = ("cube", "mte1", "mte2", "fixpipe")
# cann-bench reads so much before each measured call.
_SWEEP_BYTES = 192 * 2**20


@dataclass(frozen=True)
class Simulated:
    """Time of a call on the simulated card."""

    duration_us: float  # of all its kernels, one after the other
    pipes_us: Mapping[str, float]  # the cube's in the mean over its cores, as profilers say
    roofline_us: float  # the slower of arithmetic and bytes at their peaks, kernel by kernel
    kinds: tuple[str, ...]  # of its kernels
    kernels: tuple[str, ...]  # operator, shape and formats of each

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
    records = run_alone(kernels, cold=cold)
    roofline = sum(roofline_us(kernel.work) for kernel in kernels)
    pipes: dict[str, float] = {}
    for record in records:
        balance = _balance(record)
        for pipe, busy in record.pipes.items():
            share = balance if pipe in _CUBE_PIPES else 1.0
            pipes[pipe] = pipes.get(pipe, 0.0) + busy * share
    texts = tuple(f"{kernel.op}: {_C.work_text(kernel.work)}" for kernel in kernels)
    kinds = tuple(record.name for record in records)
    duration = sum(record.alone_us for record in records)
    return Simulated(duration, pipes, roofline, kinds, texts)


def _balance(record: Record) -> float:
    """Mean over busiest core: profilers report the mean, the model the busiest."""
    facts = _C.explain(dict(record.fields))["facts"]
    return next((value for name, value, _ in facts if name == "balance"), 1.0)


def run_alone(kernels: list[Kernel], *, cold: bool) -> list[Record]:
    """Launches kernels on the chip in use and returns their records, in order."""
    with _Addresses(kernels) as addresses:
        if cold:
            _sweep()
        else:
            _run(kernels, addresses)
        return _run(kernels, addresses)


def _run(kernels: list[Kernel], addresses: "_Addresses") -> list[Record]:
    with trace() as found:
        for kernel in kernels:
            reads, writes = addresses.of(kernel.reads), addresses.of(kernel.writes)
            _C.launch_work(kernel.op, kernel.work, _DEVICE, reads, writes)
    return found.kernels


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

    def of(self, tensors: Iterable[torch.Tensor]) -> list[tuple[int, int]]:
        """Returns (address, bytes) of each tensor that has any."""
        places = []
        for tensor in tensors:
            memory = self._memory[tensor.untyped_storage()._cdata]
            offset = int(tensor.storage_offset()) * tensor.element_size()
            span = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
            if tensor.numel() > 0 and memory.numel() > 0:
                places.append((memory.data_ptr() + offset, (span + 1) * tensor.element_size()))
        return places
