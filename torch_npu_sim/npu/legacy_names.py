"""``torch.npu.utils``: old names of the runtime API, and questions about the installation."""

import re
from typing import Any

import torch

from torch_npu_sim.npu.devices import _index_of as _get_device_index
from torch_npu_sim.npu.devices import (
    current_blas_handle,
    current_device,
    device,
    device_of,
    ipc_collect,
    set_device,
    synchronize,
)
from torch_npu_sim.npu.health import check_uce_in_memory, stress_detect
from torch_npu_sim.npu.npu_config import finalize_dump, init_dump, set_dump, set_op_timeout_ms
from torch_npu_sim.npu.overflow import clear_npu_overflow_flag, get_npu_overflow_flag
from torch_npu_sim.npu.properties import get_soc_version, is_bf16_supported
from torch_npu_sim.npu.streams import (
    StreamContext,
    current_stream,
    default_stream,
    get_sync_debug_mode,
    set_stream,
    set_sync_debug_mode,
    stream,
)

__all__ = [
    "StreamContext",
    "_erase_stream",
    "_get_device_index",
    "_is_gte_cann_version",
    "check_uce_in_memory",
    "clear_npu_overflow_flag",
    "current_blas_handle",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_of",
    "finalize_dump",
    "get_cann_version",
    "get_npu_overflow_flag",
    "get_soc_version",
    "get_sync_debug_mode",
    "init_dump",
    "ipc_collect",
    "is_bf16_supported",
    "is_support_inf_nan",
    "npu_check_overflow",
    "npurt",
    "obfuscation_calculate",
    "obfuscation_finalize",
    "obfuscation_initialize",
    "set_device",
    "set_dump",
    "set_op_timeout_ms",
    "set_stream",
    "set_sync_debug_mode",
    "stream",
    "stress_detect",
    "synchronize",
]

# The release that torch_npu 26.1.0, the newest, goes with (docs/zh/release_notes.md of
# Ascend/pytorch@9e73e708). Nothing of CANN is used here.
_CANN_VERSION = "9.1.0"
_CANN_MODULES = (
    *("CANN", "RUNTIME", "COMPILER", "HCCL", "TOOLKIT", "OPP", "OPP_KERNEL", "DRIVER"),
)


def get_cann_version(module: str = "CANN") -> str:
    """Returns the version of CANN whose behaviour is simulated; all its modules have that one.

    Raises:
        ValueError: there is no such module.
    """
    if module not in _CANN_MODULES:
        raise ValueError(f"get_cann_version: expected one of {_CANN_MODULES}, got {module!r}")
    return _CANN_VERSION


def _is_gte_cann_version(version: str, module: str = "CANN") -> bool:
    """Returns whether the simulated CANN is at least `version`; "8.1.RC1" comes before "8.1.0"."""
    return _comparable(get_cann_version(module)) >= _comparable(version)


def _comparable(version: str) -> tuple[int, int, int, int]:
    """Returns (major, minor, 1 of a release or 0 of its candidates, number)."""
    found = re.match(r"(\d+)\.(\d+)\.(RC|rc)?(\d+)", version)
    if found is None:
        raise ValueError(f"_is_gte_cann_version: expected a version as 8.5.0, got {version!r}")
    return int(found[1]), int(found[2]), int(found[3] is None), int(found[4])


def is_support_inf_nan() -> bool:
    """Returns whether the card computes with inf and nan: always True here, as on an Ascend 950."""
    return True


def npu_check_overflow(grad: torch.Tensor | float) -> bool:
    """Returns whether the sum of `grad` is inf or nan.

    Raises:
        RuntimeError: `grad` is neither a tensor nor a float.
    """
    if isinstance(grad, torch.Tensor):
        return not bool(torch.isfinite(grad.float().sum()))
    if isinstance(grad, float):
        return not torch.isfinite(torch.tensor(grad)).item()
    raise RuntimeError(
        f"npu_check_overflow: expected a tensor or a float, got {type(grad).__name__}"
    )


def obfuscation_initialize(*args: Any, **kwargs: Any) -> Any:
    """Calls the operator of the same name."""
    return torch.ops.npu.obfuscation_initialize(*args, **kwargs)


def obfuscation_calculate(*args: Any, **kwargs: Any) -> Any:
    """Calls the operator of the same name."""
    return torch.ops.npu.obfuscation_calculate(*args, **kwargs)


def obfuscation_finalize(*args: Any, **kwargs: Any) -> Any:
    """Calls the operator of the same name."""
    return torch.ops.npu.obfuscation_finalize(*args, **kwargs)


def npurt() -> Any:
    """Would return CANN's runtime: raw streams, and host memory registered for cards.

    Raises:
        NotImplementedError: always; nothing here has a raw handle.
    """
    raise NotImplementedError(
        "torch.npu.npurt: expected CANN's runtime, got a simulated card, which has none; use "
        "torch.npu.Stream, and Tensor.pin_memory() for host memory"
    )


def _erase_stream(tensor: torch.Tensor, stream: torch.Stream) -> None:
    """Would forget that `stream` uses the memory of `tensor`.

    Values are there when an operator returns, so memory is never kept for a stream.
    """
    del tensor, stream
