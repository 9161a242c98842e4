"""What the allocators of the cards do during a recording, from their history."""

import sys
from dataclasses import dataclass
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.npu import memory_history
from torch_npu_sim.npu.devices import device_count

__all__ = ["MemoryEvent", "MemoryRecorder"]

_PS_PER_US = 1_000_000

# What an action of the history adds to (allocated, reserved, active), in multiples of its size.
_EFFECTS = {
    "alloc": (1, 0, 1),
    "free_requested": (-1, 0, 0),
    "free_completed": (0, 0, -1),
    "segment_alloc": (0, 1, 0),
    "segment_free": (0, -1, 0),
}


@dataclass(frozen=True)
class MemoryEvent:
    """One action of an allocator and the totals after it, in bytes."""

    device: int
    at_us: (
        float  # simulated, of the host, since the recording began; whole microseconds of its clock
    )
    action: str
    address: int
    size: int
    stream: int
    allocated: int
    reserved: int
    active: int


class MemoryRecorder:
    """Reads the history of every card; a history that the user records is used and left on."""

    def start(self) -> None:
        """Switches the history on and notes the totals."""
        self._was_on = memory_history.is_recording()
        if not self._was_on:
            _C.record_memory_history(sys.maxsize)
        self._seen = [len(_C.memory_history(index)) for index in range(device_count())]
        self._totals = [_totals(index) for index in range(device_count())]

    def stop(self, begin_ps: int) -> list[MemoryEvent]:
        """Returns what happened since `start`, in the order of time; `begin_ps` is time 0."""
        found = []
        for device, (seen, totals) in enumerate(zip(self._seen, self._totals, strict=True)):
            for entry in _C.memory_history(device)[seen:]:
                totals = _after(totals, entry)
                found.append(_event(device, entry, totals, begin_ps))
        if not self._was_on:
            _C.record_memory_history(0)
        return sorted(found, key=lambda event: event.at_us)


_Totals = tuple[int, int, int]


def _totals(device: int) -> _Totals:
    stats = _C.memory_stats(device)
    allocated, reserved, active = (
        stats[f"{name}_bytes"]["all"]["current"] for name in ("allocated", "reserved", "active")
    )
    return allocated, reserved, active


def _after(totals: _Totals, entry: dict[str, Any]) -> _Totals:
    effects = _EFFECTS.get(entry["action"], (0, 0, 0))
    allocated, reserved, active = (
        total + effect * entry["size"] for total, effect in zip(totals, effects, strict=True)
    )
    return allocated, reserved, active


def _event(device: int, entry: dict[str, Any], totals: _Totals, begin_ps: int) -> MemoryEvent:
    allocated, reserved, active = totals
    return MemoryEvent(
        device=device,
        at_us=max(0.0, entry["time_us"] - begin_ps / _PS_PER_US),
        action=entry["action"],
        address=entry["addr"],
        size=entry["size"],
        stream=entry["stream"],
        allocated=allocated,
        reserved=reserved,
        active=active,
    )
