"""The context manager that records what the simulated cards do."""

import os
from types import TracebackType
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.report.chrome import write_chrome
from torch_npu_sim.report.explanation import Explanation, explain
from torch_npu_sim.report.kernel import Kernel, MemorySample
from torch_npu_sim.report.table import format_report

__all__ = ["Trace", "trace"]

_PS_PER_US = 1_000_000


class Trace:
    """Records the kernels launched inside a `with` block; read it after the block.

    Traces nest: each sees the kernels between its own start and end. The host's simulated clock
    does not move by tracing, so a program takes the same time with and without it.
    """

    def __init__(self) -> None:
        """Makes a trace that has not begun."""
        self._id: int | None = None
        self._data: dict[str, Any] | None = None
        self._kernels: list[Kernel] = []
        self._memory: list[MemorySample] = []

    def __enter__(self) -> "Trace":
        """Begins to record.

        Raises:
            RuntimeError: it has begun before.
        """
        if self._id is not None:
            raise RuntimeError(
                "torch_npu_sim.trace: expected a new trace, got one that has begun; "
                "call torch_npu_sim.trace() again"
            )
        self._id = _C.start_trace()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the record; what is queued is resolved, but the host does not wait for it."""
        assert self._id is not None
        self._data = data = _C.stop_trace(self._id)
        begin = data["begin_ps"]
        model = _C.chip()["name"], _C.fidelity()
        self._kernels = [Kernel.from_record(record, begin, *model) for record in data["kernels"]]
        self._memory = [MemorySample.from_record(record, begin) for record in data["memory"]]

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels, in the order of their start."""
        self._finished()
        return self._kernels

    @property
    def memory(self) -> list[MemorySample]:
        """The memory of the cards at each change, in the order of time."""
        self._finished()
        return self._memory

    @property
    def host_us(self) -> float:
        """Simulated microseconds that passed on the host's clock."""
        data = self._finished()
        return float((data["end_ps"] - data["begin_ps"]) / _PS_PER_US)

    @property
    def total_us(self) -> float:
        """Simulated microseconds from the start until host and cards were done."""
        return max([self.host_us, *(kernel.end_us for kernel in self.kernels)])

    @property
    def device_us(self) -> float:
        """Simulated microseconds of all kernels together, overlapping or not."""
        return sum(kernel.duration_us for kernel in self.kernels)

    @property
    def energy_j(self) -> float:
        """Joules of all kernels together."""
        return sum(kernel.energy_j for kernel in self.kernels)

    def table(self, top: int | None = None) -> str:
        """Returns the report: time by operator, what bounds it, and what the figures rest on.

        Args:
            top: how many operators to list, the costliest first; all if None.
        """
        return format_report(self, top)

    def explain(self, index: int) -> Explanation:
        """Returns why kernel `index` takes its time; print it.

        The chip must be the one that the trace was made on.

        Raises:
            IndexError: there is no such kernel.
        """
        kernels = self.kernels
        if not -len(kernels) <= index < len(kernels):
            raise IndexError(
                f"torch_npu_sim.trace: expected the index of one of {len(kernels)} kernels, "
                f"got {index}"
            )
        return explain(kernels[index])

    def to_chrome(self, path: str | os.PathLike[str]) -> None:
        """Writes a Chrome trace (JSON) that https://ui.perfetto.dev opens.

        A process is a card, a thread one of its streams, a counter its memory. Times are simulated
        microseconds since the trace began.
        """
        self._finished()
        write_chrome(self, path)

    def to_html(self, path: str | os.PathLike[str], title: str = "trace") -> None:
        """Writes one HTML page that needs no network: timeline, kernels, roofline, memory, energy.

        It also tells what fell back to the host and what could be fused. The chip must be the one
        that the trace was made on.
        """
        from torch_npu_sim.report.page import write_page  # here: it reads traces itself

        self._finished()
        write_page(self, path, title)

    def _finished(self) -> dict[str, Any]:
        if self._data is None:
            raise RuntimeError(
                "torch_npu_sim.trace: expected a trace that has ended, got one that has not; "
                "read it after its `with` block"
            )
        return self._data


def trace() -> Trace:
    """Returns a context manager that records kernels, memory and times in simulated time.

    Example::

        with torch_npu_sim.trace() as trace:
            model(x)
        print(trace.table(top=10))
    """
    return Trace()
