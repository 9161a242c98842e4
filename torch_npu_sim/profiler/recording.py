"""What one recording of a profile holds: kernels, steps, memory, and the host's operators."""

import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch._C._autograd import DeviceType

from torch_npu_sim import _C
from torch_npu_sim.npu.mstx import StreamRanges
from torch_npu_sim.profiler.memory_events import MemoryEvent, MemoryRecorder
from torch_npu_sim.report import Kernel, trace

__all__ = ["CardRange", "HostOperator", "Recording", "Step", "Task"]

_PS_PER_US = 1_000_000
_NS_PER_US = 1000

# Kineto's points in time: allocations on the host, which are no operators.
_INSTANT = "cpu_instant_event"

_Place = tuple[int, int]  # card and stream


@dataclass(frozen=True)
class Step:
    """One step of the schedule, in simulated microseconds of the host since the recording began."""

    number: int
    begin_us: float
    end_us: float


@dataclass(frozen=True)
class HostOperator:
    """An operator or a range on the host, in nanoseconds of the wall clock."""

    name: str
    kind: str  # Kineto's: "cpu_op", "user_annotation", "python_function" ...
    thread: int
    correlation: int
    start_ns: int
    duration_ns: int
    shapes: Sequence[Sequence[int]]
    dtypes: Sequence[str]
    flops: int
    stack: Sequence[str]
    sequence: int

    @classmethod
    def from_event(cls, event: Any) -> "HostOperator":
        """Makes one of an event of Kineto."""
        return cls(
            name=event.name(),
            kind=event.activity_type(),
            thread=event.start_thread_id(),
            correlation=event.correlation_id(),
            start_ns=event.start_ns(),
            duration_ns=event.duration_ns(),
            shapes=event.shapes(),
            dtypes=event.dtypes(),
            flops=event.flops(),
            stack=event.stack(),
            sequence=event.sequence_nr(),
        )


@dataclass(frozen=True)
class Task:
    """A kernel in its place: the wait before it on its stream, its step, the operator it is of."""

    number: int
    kernel: Kernel
    wait_us: float
    step: int | None
    operator: HostOperator | None


@dataclass(frozen=True)
class CardRange:
    """A range of mstx on a stream of the card."""

    message: str
    device: int
    stream: int
    begin_us: float
    end_us: float


class Recording:
    """Records from `start` to `stop`; `mark_step` begins a step and ends the one before.

    Times are microseconds since `start`. `wall_ns` lays them on the wall clock from the moment when
    the recording began, as torch.profiler's events of the card are.
    """

    def __init__(self, *, with_memory: bool) -> None:
        """Makes a recording that has not begun."""
        self._trace = trace()
        self._memory = MemoryRecorder() if with_memory else None
        self._stream_ranges = StreamRanges()
        self._marks: list[tuple[int, float]] = []
        self.start_ns = 0
        self.end_ns = 0
        self.steps: list[Step] = []
        self.tasks: list[Task] = []
        self.operators: list[HostOperator] = []
        self.memory: list[MemoryEvent] = []

    def start(self) -> None:
        """Begins to record."""
        self.start_ns = time.time_ns()
        self._begin_ps = _C.host_now_ps()
        self._trace.__enter__()
        if self._memory is not None:
            self._memory.start()
        self._stream_ranges.start()

    def mark_step(self, number: int) -> None:
        """Notes that step `number` begins now, unless it is the one that runs."""
        if not self._marks or self._marks[-1][0] != number:
            self._marks.append((number, self._now_us()))

    def stop(self) -> None:
        """Ends the recording; the host does not wait for the card."""
        self._stream_ranges.stop()
        end = self._now_us()
        begins = [*self._marks, (-1, end)]
        self.steps = [
            Step(number, begin, until) for (number, begin), (_, until) in pairwise(begins)
        ]
        if self._memory is not None:
            self.memory = self._memory.stop(self._begin_ps)
        self._trace.__exit__(None, None, None)
        self.end_ns = time.time_ns()

    def link(self, events: Iterable[Any], *, with_card: bool) -> None:
        """Joins the kernels with the events of Kineto: operators of the host, and which is whose.

        Args:
            events: of the session that recorded the same time.
            with_card: keep the kernels; else the host alone was to be recorded.
        """
        host, card = _parted(events)
        self.operators = [HostOperator.from_event(event) for event in host]
        if with_card:
            owners = _owners(card, self.operators)
            self.tasks = _tasks(self._trace.kernels, self.steps, owners)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels, in the order of their start."""
        return [task.kernel for task in self.tasks]

    @property
    def devices(self) -> list[int]:
        """The cards that ran anything."""
        return sorted({kernel.device for kernel in self.kernels})

    def card_ranges(self) -> Iterator[CardRange]:
        """Yields mstx ranges with a stream, from the start of their first kernel to the last's end.

        Their kernels are those that the host launched on the stream within the range.
        """
        launched: dict[_Place, list[Kernel]] = defaultdict(list)
        for kernel in self.kernels:  # a stream starts them in the order of their launch
            launched[kernel.device, kernel.stream].append(kernel)
        for heard in self._stream_ranges.heard:
            kernels = launched[heard.device, heard.stream]
            first, end = (
                bisect_right(kernels, self._since_us(at), key=lambda kernel: kernel.issued_us)
                for at in (heard.begin_ps, heard.end_ps)
            )
            if first < end:
                place = heard.message, heard.device, heard.stream
                yield CardRange(*place, kernels[first].start_us, kernels[end - 1].end_us)

    def wall_ns(self, at_us: float) -> int:
        """Returns the nanosecond of the wall clock that stands for a simulated time."""
        return self.start_ns + round(at_us * _NS_PER_US)

    def _now_us(self) -> float:
        return self._since_us(_C.host_now_ps())

    def _since_us(self, at_ps: int) -> float:
        return (at_ps - self._begin_ps) / _PS_PER_US


def _parted(events: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Returns the events of the host, and those of the card."""
    host: list[Any] = []
    card: list[Any] = []
    for event in events:
        if event.activity_type() != _INSTANT:
            (host if event.device_type() == DeviceType.CPU else card).append(event)
    return host, card


def _owners(
    card: Iterable[Any], operators: Iterable[HostOperator]
) -> dict[_Place, list[HostOperator | None]]:
    """Returns for each stream the operators of its kernels, in the order of their start."""
    by_correlation = {each.correlation: each for each in operators}
    found: dict[_Place, list[HostOperator | None]] = defaultdict(list)
    for event in sorted(card, key=lambda event: event.start_ns()):
        owner = by_correlation.get(event.linked_correlation_id())
        found[event.device_index(), event.device_resource_id()].append(owner)
    return found


def _tasks(
    kernels: Sequence[Kernel],
    steps: Sequence[Step],
    owners: dict[_Place, list[HostOperator | None]],
) -> list[Task]:
    counts: dict[_Place, int] = defaultdict(int)
    for kernel in kernels:
        counts[kernel.device, kernel.stream] += 1
    ended: dict[_Place, float] = {}
    seen: dict[_Place, int] = defaultdict(int)
    tasks = []
    for number, kernel in enumerate(kernels):
        place = kernel.device, kernel.stream
        known = owners.get(place, [])
        tasks.append(
            Task(
                number=number,
                kernel=kernel,
                wait_us=max(0.0, kernel.start_us - ended.get(place, kernel.start_us)),
                step=_step_of(kernel, steps),
                operator=known[seen[place]] if len(known) == counts[place] else None,
            )
        )
        ended[place] = kernel.end_us
        seen[place] += 1
    return tasks


def _step_of(kernel: Kernel, steps: Sequence[Step]) -> int | None:
    """Returns the step in which the host launched the kernel; steps follow each other."""
    found = bisect_left(steps, kernel.issued_us, key=lambda step: step.end_us)
    if found == len(steps) or kernel.issued_us <= steps[found].begin_us:
        return None
    return steps[found].number
