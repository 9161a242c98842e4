"""Pinned host memory: its statistics."""

from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.npu.lifecycle import is_initialized

__all__ = [
    "host_empty_cache",
    "host_memory_stats",
    "host_memory_stats_as_nested_dict",
    "reset_accumulated_host_memory_stats",
    "reset_peak_host_memory_stats",
]


def host_memory_stats_as_nested_dict() -> dict[str, Any]:
    """Returns the pinned allocator's statistics, nested by quantity and metric."""
    return _C.host_memory_stats() if is_initialized() else {}


def host_memory_stats() -> dict[str, Any]:
    """Returns the pinned allocator's statistics with flat keys such as allocated_bytes.peak."""
    flat: dict[str, Any] = {}
    for quantity, value in host_memory_stats_as_nested_dict().items():
        if isinstance(value, dict):
            flat.update({f"{quantity}.{metric}": number for metric, number in value.items()})
        else:
            flat[quantity] = value
    return dict(sorted(flat.items()))


def host_empty_cache() -> None:
    """Gives unused cached pinned memory back."""
    _C.empty_host_cache()


def reset_peak_host_memory_stats() -> None:
    """Sets every peak to the current value."""
    _C.reset_peak_host_memory_stats()


def reset_accumulated_host_memory_stats() -> None:
    """Sets every running total to zero."""
    _C.reset_accumulated_host_memory_stats()
