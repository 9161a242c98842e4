"""torch.autocast and its helpers for custom autograd functions, for npu."""

import functools
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["autocast", "custom_bwd", "custom_fwd"]


class autocast(torch.amp.autocast):  # noqa: N801 (torch's name)
    """`torch.autocast("npu", ...)`; float16 by default, as torch_npu's.

    Args:
        enabled: whether the region casts.
        dtype: torch.float16 or torch.bfloat16.
        cache_enabled: whether casts of parameters are kept for the region.
    """

    def __init__(
        self,
        enabled: bool = True,
        dtype: torch.dtype = torch.float16,
        cache_enabled: bool = True,
    ) -> None:
        """Makes a context manager that is a decorator too."""
        super().__init__("npu", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, cast_inputs: torch.dtype | None = None
) -> Callable[..., Any]:
    """As torch.amp.custom_fwd with device_type="npu"."""
    wrap = functools.partial(torch.amp.custom_fwd, device_type="npu", cast_inputs=cast_inputs)
    return wrap if fwd is None else wrap(fwd)


def custom_bwd(bwd: Callable[..., Any]) -> Callable[..., Any]:
    """As torch.amp.custom_bwd with device_type="npu"."""
    wrapped: Callable[..., Any] = torch.amp.custom_bwd(bwd, device_type="npu")
    return wrapped
