"""Tables of the cards' memory: memory_record.csv and operator_memory.csv.

Columns are those of Ascend/pytorch's prof_view/_memory_view_parser.py.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_npu_sim.profiler.memory_events import MemoryEvent
from torch_npu_sim.profiler.recording import Recording
from torch_npu_sim.profiler.table import fixed, timestamp, write_table
from torch_npu_sim.report import Kernel

__all__ = ["write_memory_record", "write_operator_memory"]

_KB, _MB = 1024, 1024**2

_RECORD_HEADERS = [
    *("Component", "Timestamp(us)", "Total Allocated(MB)", "Total Reserved(MB)"),
    *("Total Active(MB)", "Stream Ptr", "Device Type"),
]
_OPERATOR_HEADERS = [
    *("Name", "Size(KB)", "Allocation Time(us)", "Release Time(us)", "Active Release Time(us)"),
    *("Duration(us)", "Active Duration(us)"),
    *("Allocation Total Allocated(MB)", "Allocation Total Reserved(MB)"),
    *("Allocation Total Active(MB)", "Release Total Allocated(MB)"),
    *("Release Total Reserved(MB)", "Release Total Active(MB)", "Stream Ptr", "Device Type"),
]


def write_memory_record(folder: Path, recording: Recording) -> None:
    """Writes memory_record.csv: the totals of each card after each change."""
    rows = (
        {
            "Component": component,
            "Timestamp(us)": _time(recording, event.at_us),
            **_totals("Total", event),
            "Stream Ptr": event.stream,
            "Device Type": f"NPU:{event.device}",
        }
        for event in recording.memory
        # The second row is the sum with GE's memory, of which there is none.
        for component in ("PTA", "PTA+GE")
    )
    write_table(folder / "memory_record.csv", _RECORD_HEADERS, rows)


@dataclass
class _Block:
    """The life of one allocation; it may outlast the recording."""

    allocated: MemoryEvent
    released: MemoryEvent | None = None
    returned: MemoryEvent | None = None


def write_operator_memory(folder: Path, recording: Recording) -> None:
    """Writes operator_memory.csv: each allocation, and what is known of its release.

    The name is the operator that the host was launching at that simulated time.
    """
    kernels = sorted(recording.kernels, key=lambda kernel: kernel.issued_us)
    rows = (_block_row(block, recording, kernels) for block in _blocks(recording.memory))
    write_table(folder / "operator_memory.csv", _OPERATOR_HEADERS, rows)


def _blocks(events: Sequence[MemoryEvent]) -> list[_Block]:
    blocks = []
    live: dict[tuple[int, int], _Block] = {}
    for event in events:
        place = event.device, event.address
        if event.action == "alloc":
            live[place] = _Block(event)
            blocks.append(live[place])
        elif place not in live:
            continue  # allocated before the recording, or a segment
        elif event.action == "free_requested":
            live[place].released = event
        elif event.action == "free_completed":
            live.pop(place).returned = event
    return blocks


def _block_row(block: _Block, recording: Recording, kernels: Sequence[Kernel]) -> dict[str, Any]:
    made = block.allocated
    row = {
        "Name": _operator_at(made, kernels),
        "Size(KB)": made.size / _KB,
        "Allocation Time(us)": _time(recording, made.at_us),
        **_totals("Allocation Total", made),
        "Stream Ptr": made.stream,
        "Device Type": f"NPU:{made.device}",
    }
    empty = dict.fromkeys(_OPERATOR_HEADERS, "")
    return empty | row | dict(_releases(block, recording))


def _releases(block: _Block, recording: Recording) -> Iterator[tuple[str, Any]]:
    """What is known of the release; a cell without a time is empty, as in the vendor's file."""
    if block.released is not None:
        yield "Release Time(us)", _time(recording, block.released.at_us)
        yield "Duration(us)", fixed(block.released.at_us - block.allocated.at_us) + "\t"
        yield from _totals("Release Total", block.released).items()
    if block.returned is not None:
        yield "Active Release Time(us)", _time(recording, block.returned.at_us)
        yield "Active Duration(us)", fixed(block.returned.at_us - block.allocated.at_us) + "\t"


def _operator_at(event: MemoryEvent, kernels: Sequence[Kernel]) -> str:
    """Returns the operator whose kernel the host launched next; empty if none came."""
    found = bisect_left(kernels, event.at_us + 1, key=lambda kernel: kernel.issued_us)
    on_card = (kernel for kernel in kernels[found:] if kernel.device == event.device)
    return next((kernel.op for kernel in on_card), "")


def _totals(name: str, event: MemoryEvent) -> dict[str, Any]:
    return {
        f"{name} Allocated(MB)": event.allocated / _MB,
        f"{name} Reserved(MB)": event.reserved / _MB,
        f"{name} Active(MB)": event.active / _MB,
    }


def _time(recording: Recording, at_us: float) -> str:
    return timestamp(recording.wall_ns(at_us)) + "\t"
