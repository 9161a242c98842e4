"""How an argument that says cuda comes to say npu."""

import functools
import re
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["DEVICE_KEYWORDS", "on_npu", "redirected", "with_hccl"]

_CUDA = re.compile(r"cuda(:\d+)?")
DEVICE_KEYWORDS = ("device", "device_type", "map_location", "device_id", "device_ids")


def on_npu(value: Any, numbers: bool = False) -> Any:
    """Returns what `value` means on npu: "cuda:1" is "npu:1", as string, device or within a dict.

    Args:
        value: an argument of a call.
        numbers: whether an int names a device too.
    """
    if isinstance(value, str):
        return value.replace("cuda", "npu") if _CUDA.fullmatch(value) else value
    if isinstance(value, torch.device):
        return torch.device("npu", value.index) if value.type == "cuda" else value
    if isinstance(value, dict):
        return {on_npu(key): on_npu(item) for key, item in value.items()}
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        return f"npu:{value}"
    return value


def _keyword_on_npu(value: Any) -> Any:
    """Returns the same for an argument that is known to name a device, or several."""
    if isinstance(value, list | tuple):
        return type(value)(on_npu(item) for item in value)
    return on_npu(value, numbers=True)


def redirected(
    function: Callable[..., Any],
    numbers: bool = False,
    keywords: tuple[str, ...] = DEVICE_KEYWORDS,
) -> Callable[..., Any]:
    """Returns `function` that takes cuda for npu, in place or by these keywords.

    Positional strings are redirected wherever they stand, as in torch_npu; but only those that name
    a device, so that a file `cuda.pt` is still found.
    """

    @functools.wraps(function)
    def moved(*args: Any, **kwargs: Any) -> Any:
        for name in keywords:
            if kwargs.get(name) is not None:
                kwargs[name] = _keyword_on_npu(kwargs[name])
        return function(*(on_npu(value, numbers) for value in args), **kwargs)

    return moved


def with_hccl(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` that takes the backend nccl for hccl: "cpu:gloo,cuda:nccl" too."""

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("nccl", "hccl").replace("cuda", "npu")
        return value

    @functools.wraps(function)
    def moved(*args: Any, **kwargs: Any) -> Any:
        if "backend" in kwargs:
            kwargs["backend"] = renamed(kwargs["backend"])
        return function(*(renamed(value) for value in args), **kwargs)

    return moved
