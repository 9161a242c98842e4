"""The card's memory: statistics, limits and raw blocks. Bytes are the simulated card's."""

from typing import Any

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of, device_count
from torch_npu_sim.npu.host_memory import (
    host_empty_cache,
    host_memory_stats,
    host_memory_stats_as_nested_dict,
    reset_accumulated_host_memory_stats,
    reset_peak_host_memory_stats,
)
from torch_npu_sim.npu.lifecycle import _lazy_init, is_initialized
from torch_npu_sim.npu.mem_pools import (
    MemPool,
    NPUPluggableAllocator,
    change_current_allocator,
    get_allocator_backend,
    use_mem_pool,
)
from torch_npu_sim.npu.memory_history import _dump_snapshot as _dump_snapshot
from torch_npu_sim.npu.memory_history import _record_memory_history as _record_memory_history
from torch_npu_sim.npu.memory_history import _snapshot as _snapshot
from torch_npu_sim.npu.memory_history import memory_snapshot
from torch_npu_sim.npu.memory_summary import format_summary

__all__ = [
    "MemPool",
    "NPUPluggableAllocator",
    "caching_allocator_alloc",
    "caching_allocator_delete",
    "change_current_allocator",
    "empty_cache",
    "empty_virt_addr_cache",
    "get_allocator_backend",
    "get_per_process_memory_fraction",
    "host_empty_cache",
    "host_memory_stats",
    "host_memory_stats_as_nested_dict",
    "list_npu_processes",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_snapshot",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_host_memory_stats",
    "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
    "use_mem_pool",
]


def _checked(device: DeviceLike, caller: str) -> int:
    _lazy_init()
    return _existing(_index_of(device), caller)


def caching_allocator_alloc(
    size: int, device: DeviceLike = None, stream: torch.Stream | int | None = None
) -> int:
    """Takes `size` bytes from the caching allocator and returns their address.

    Args:
        size: bytes.
        device: the card; the current one if None.
        stream: the stream whose pool serves it, or its handle; the current one if None.

    Raises:
        TypeError: `stream` is neither.
        torch.OutOfMemoryError: the card is full.
    """
    index = _checked(device, "caching_allocator_alloc")
    if stream is None:
        stream = torch._C._accelerator_getStream(index)
    handle = stream.stream_id if isinstance(stream, torch.Stream) else stream
    if not isinstance(handle, int):
        raise TypeError(
            "torch.npu.caching_allocator_alloc: expected a torch.npu.Stream or an int handle as "
            f"stream, got {type(stream).__name__}"
        )
    return _C.allocate(index, handle, size)


def caching_allocator_delete(mem_ptr: int) -> None:
    """Gives back what caching_allocator_alloc returned.

    Raises:
        ValueError: `mem_ptr` is no such address.
    """
    _C.deallocate(mem_ptr)


def set_per_process_memory_fraction(fraction: float, device: DeviceLike = None) -> None:
    """Lets the process use no more than `fraction`, in [0, 1], of the card's memory.

    Raises:
        TypeError: `fraction` is no float.
        ValueError: it is out of range.
    """
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    _C.set_memory_fraction(_checked(device, "set_per_process_memory_fraction"), fraction)


def get_per_process_memory_fraction(device: DeviceLike = None) -> float:
    """Returns the share of the card's memory that the process may use."""
    return _C.memory_fraction(_checked(device, "get_per_process_memory_fraction"))


def empty_cache() -> None:
    """Gives the unused cached memory of every card back to it."""
    if is_initialized():
        for index in range(device_count()):
            _C.empty_cache(index)


def empty_virt_addr_cache() -> None:
    """As empty_cache: the simulated allocator keeps no address ranges apart from its segments."""
    empty_cache()


def mem_get_info(device: DeviceLike = None) -> tuple[int, int]:
    """Returns the free and the total bytes of the card."""
    return _C.memory_info(_checked(device, "mem_get_info"))


def memory_stats_as_nested_dict(device: DeviceLike = None) -> dict[str, Any]:
    """Returns the allocator's statistics, nested by quantity, pool and metric."""
    if not is_initialized():
        return {}
    return _C.memory_stats(_checked(device, "memory_stats"))


def memory_stats(device: DeviceLike = None) -> dict[str, Any]:
    """Returns the allocator's statistics with torch.cuda's flat, sorted keys.

    A key is `quantity.pool.metric`: allocation, segment, active, inactive_split (counts) and
    allocated_bytes, reserved_bytes, active_bytes, inactive_split_bytes, requested_bytes; all,
    small_pool or large_pool; current, peak, allocated or freed. Empty before the device is used.
    """
    flat: dict[str, Any] = {}

    def flatten(prefix: str, value: Any) -> None:
        if not isinstance(value, dict):
            flat[prefix] = value
            return
        for key, inner in value.items():
            flatten(f"{prefix}.{key}" if prefix else key, inner)

    flatten("", memory_stats_as_nested_dict(device))
    return dict(sorted(flat.items()))


def reset_peak_memory_stats(device: DeviceLike = None) -> None:
    """Sets every peak to the current value."""
    _C.reset_peak_memory_stats(_checked(device, "reset_peak_memory_stats"))


def reset_accumulated_memory_stats(device: DeviceLike = None) -> None:
    """Sets every running total (allocated, freed, retries, OOMs) to zero."""
    _C.reset_accumulated_memory_stats(_checked(device, "reset_accumulated_memory_stats"))


def reset_max_memory_allocated(device: DeviceLike = None) -> None:
    """As reset_peak_memory_stats, which it calls: torch keeps the name for old code."""
    reset_peak_memory_stats(device)


def reset_max_memory_cached(device: DeviceLike = None) -> None:
    """As reset_peak_memory_stats, which it calls: torch keeps the name for old code."""
    reset_peak_memory_stats(device)


def memory_allocated(device: DeviceLike = None) -> int:
    """Returns the bytes that tensors hold."""
    return int(memory_stats(device).get("allocated_bytes.all.current", 0))


def max_memory_allocated(device: DeviceLike = None) -> int:
    """Returns the most bytes that tensors have held."""
    return int(memory_stats(device).get("allocated_bytes.all.peak", 0))


def memory_reserved(device: DeviceLike = None) -> int:
    """Returns the bytes that the caching allocator has taken from the card."""
    return int(memory_stats(device).get("reserved_bytes.all.current", 0))


def max_memory_reserved(device: DeviceLike = None) -> int:
    """Returns the most bytes that the caching allocator has taken from the card."""
    return int(memory_stats(device).get("reserved_bytes.all.peak", 0))


memory_cached = memory_reserved
max_memory_cached = max_memory_reserved


def memory_summary(device: DeviceLike = None, abbreviated: bool = False) -> str:
    """Returns the statistics as a table for people.

    Args:
        device: the card; the current one if None.
        abbreviated: leave out the rows of the small and the large pool.
    """
    _lazy_init()
    index = _checked(device, "memory_summary")
    return format_summary(memory_stats(index), index, abbreviated)


def list_npu_processes(device: DeviceLike = None) -> str:
    """Returns what a card's process list would say: a simulated card has one process, this."""
    index = _checked(device, "list_npu_processes")
    mib = memory_reserved(index) / 1024**2
    return f"NPU:{index}\nthis process uses {mib:10.3f} MiB of simulated memory"
