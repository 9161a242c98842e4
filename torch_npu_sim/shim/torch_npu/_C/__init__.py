"""Bindings of torch_npu that public code calls by name. Each goes to the runtime API.

What is missing here was not seen in use; `AttributeError` then names it.
"""

from collections.abc import Callable
from typing import Any

import torch

from torch_npu_sim import npu
from torch_npu_sim.npu import legacy_names, npu_config
from torch_npu_sim.npu.later import graph_task_group_begin

__all__: list[str] = []

_npu_init = npu.init
_npu_getDevice = npu.current_device
_npu_getDeviceCount = npu.device_count
_npu_setDevice = npu.set_device
_npu_exchangeDevice = npu._exchange_device
_npu_maybeExchangeDevice = npu._maybe_exchange_device
_npu_getDeviceName = npu.get_device_name
_npu_getDeviceProperties = npu.get_device_properties
_npu_canDeviceAccessPeer = npu.can_device_access_peer
_npu_synchronize = npu.synchronize
_npu_emptyCache = npu.empty_cache
_npu_hostEmptyCache = npu.host_empty_cache
_npu_ipc_collect = npu.ipc_collect
_npu_memoryStats = npu.memory_stats_as_nested_dict
_npu_resetPeakMemoryStats = npu.reset_peak_memory_stats
_npu_resetAccumulatedMemoryStats = npu.reset_accumulated_memory_stats
_npu_is_bf16_supported = npu.is_bf16_supported
_npu_is_support_inf_nan = legacy_names.is_support_inf_nan
_npu_is_jit_compile_false = npu_config.is_jit_compile_false
_npu_get_soc_version = npu.get_soc_version
_npu_set_sync_debug_mode = npu.set_sync_debug_mode
_npu_get_sync_debug_mode = npu.get_sync_debug_mode
_get_cann_version = legacy_names.get_cann_version
_is_gte_cann_version = legacy_names._is_gte_cann_version


def _npu_setOption(options: dict[str, Any]) -> None:  # noqa: N802 (torch_npu's name)
    """Keeps options."""
    npu_config.set_option(dict(options))


def _npu_getOption(name: str) -> bytes | None:  # noqa: N802 (torch_npu's name)
    """Returns an option as bytes, or None if it is not set."""
    value = npu_config.get_option(name)
    return None if value is None else value.encode()


def _npu_setStream(*, stream_id: int, device_index: int, device_type: int) -> None:  # noqa: N802
    """Makes a stream current."""
    npu.set_stream(
        npu.Stream(stream_id=stream_id, device_index=device_index, device_type=device_type)
    )


def _npu_getCurrentStream(device: int) -> tuple[int, int, int]:  # noqa: N802
    """Returns the current stream of a card as (id, card, device type)."""
    stream = npu.current_stream(device)
    return stream.stream_id, stream.device_index, stream.device_type


def _npu_getCurrentRawStream(device: int) -> int:  # noqa: N802 (torch_npu's name)
    """Returns the handle of the current stream of a card."""
    return npu.current_stream(device).npu_stream


def _npu_getDefaultStream(device: int) -> tuple[int, int, int]:  # noqa: N802
    """Returns the default stream of a card as (id, card, device type)."""
    stream = npu.default_stream(device)
    return stream.stream_id, stream.device_index, stream.device_type


def _weak_ref_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor over the same memory. It keeps that alive, where the real one does not."""
    return tensor.detach()


def _launch_host_func(stream: Any, function: Callable[[Any], Any], data: Any) -> None:
    """Calls `function(data)`: everything launched before has its values already."""
    del stream
    function(data)


def _subscribe_report(stream: Any) -> None:
    """Would let a thread serve callbacks of a stream; here they run where they are launched."""
    del stream


_unsubscribe_report = _subscribe_report
_NPUTaskGroupHandle = graph_task_group_begin  # raises: there are no graphs yet

from torch_npu._C import _cd as _cd  # noqa: E402
from torch_npu._C import _distributed_c10d as _distributed_c10d  # noqa: E402
from torch_npu._C import _profiler as _profiler  # noqa: E402
