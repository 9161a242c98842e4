"""``torch.npu``: the runtime API, with the names and the behaviour of torch_npu.

Times that events report are simulated milliseconds; memory is the simulated card's.
"""

from typing import Any

from torch_npu_sim.npu import amp, memory, random, streams
from torch_npu_sim.npu.autocast import (
    get_amp_supported_dtype,
    get_autocast_dtype,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from torch_npu_sim.npu.core_limits import (
    get_device_limit,
    get_stream_limit,
    reset_stream_limit,
    set_device_limit,
    set_stream_limit,
)
from torch_npu_sim.npu.devices import _exchange_device as _exchange_device
from torch_npu_sim.npu.devices import _maybe_exchange_device as _maybe_exchange_device
from torch_npu_sim.npu.devices import (
    can_device_access_peer,
    current_blas_handle,
    current_device,
    device,
    device_count,
    device_of,
    get_device_name,
    ipc_collect,
    is_available,
    set_device,
    synchronize,
)
from torch_npu_sim.npu.health import (
    check_uce_in_memory,
    restart_device,
    stop_device,
    stress_detect,
    utilization,
)
from torch_npu_sim.npu.later import (
    NPUGraph,
    graph,
    graph_pool_handle,
    graph_task_group_begin,
    graph_task_group_end,
    graph_task_update_begin,
    graph_task_update_end,
    is_current_stream_capturing,
    make_graphed_callables,
)
from torch_npu_sim.npu.lifecycle import _is_in_bad_fork as _is_in_bad_fork
from torch_npu_sim.npu.lifecycle import _lazy_call as _lazy_call
from torch_npu_sim.npu.lifecycle import _lazy_init as _lazy_init
from torch_npu_sim.npu.lifecycle import default_generators as _default_generators
from torch_npu_sim.npu.lifecycle import init, is_initialized
from torch_npu_sim.npu.memory import (
    MemPool,
    NPUPluggableAllocator,
    caching_allocator_alloc,
    caching_allocator_delete,
    change_current_allocator,
    empty_cache,
    empty_virt_addr_cache,
    get_allocator_backend,
    get_per_process_memory_fraction,
    host_empty_cache,
    host_memory_stats,
    host_memory_stats_as_nested_dict,
    list_npu_processes,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_host_memory_stats,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_host_memory_stats,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
    use_mem_pool,
)
from torch_npu_sim.npu.overflow import (
    clear_npu_overflow_flag,
    get_npu_overflow_flag,
)
from torch_npu_sim.npu.properties import (
    get_device_capability,
    get_device_properties,
    get_soc_version,
    is_bf16_supported,
)
from torch_npu_sim.npu.random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from torch_npu_sim.npu.special_streams import ExternalEvent, ExternalStream, SyncLaunchStream
from torch_npu_sim.npu.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    get_sync_debug_mode,
    set_stream,
    set_sync_debug_mode,
    stream,
)
from torch_npu_sim.npu.tensor_types import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "Event",
    "ExternalEvent",
    "ExternalStream",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "MemPool",
    "NPUGraph",
    "NPUPluggableAllocator",
    "ShortTensor",
    "Stream",
    "StreamContext",
    "SyncLaunchStream",
    "amp",
    "caching_allocator_alloc",
    "caching_allocator_delete",
    "can_device_access_peer",
    "change_current_allocator",
    "check_uce_in_memory",
    "clear_npu_overflow_flag",
    "current_blas_handle",
    "current_device",
    "current_stream",
    "default_generators",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "empty_virt_addr_cache",
    "get_allocator_backend",
    "get_amp_supported_dtype",
    "get_autocast_dtype",
    "get_device_capability",
    "get_device_limit",
    "get_device_name",
    "get_device_properties",
    "get_npu_overflow_flag",
    "get_per_process_memory_fraction",
    "get_rng_state",
    "get_rng_state_all",
    "get_soc_version",
    "get_stream_limit",
    "get_sync_debug_mode",
    "graph",
    "graph_pool_handle",
    "graph_task_group_begin",
    "graph_task_group_end",
    "graph_task_update_begin",
    "graph_task_update_end",
    "host_empty_cache",
    "host_memory_stats",
    "host_memory_stats_as_nested_dict",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_autocast_enabled",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "list_npu_processes",
    "make_graphed_callables",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_snapshot",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "random",
    "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_host_memory_stats",
    "reset_peak_memory_stats",
    "reset_stream_limit",
    "restart_device",
    "seed",
    "seed_all",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_device",
    "set_device_limit",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "set_stream_limit",
    "set_sync_debug_mode",
    "stop_device",
    "stream",
    "streams",
    "stress_detect",
    "synchronize",
    "use_mem_pool",
    "utilization",
]


def __getattr__(name: str) -> Any:
    """Answers what changes with the device's state.

    ``default_generators`` exist once the device is initialised; ``_initialized`` is what
    torch.utils.checkpoint asks before it saves the generators' states.
    """
    if name == "_initialized":
        return is_initialized()
    if name == "default_generators":
        return _default_generators()
    raise AttributeError(f"module 'torch.npu' has no attribute {name!r}")
