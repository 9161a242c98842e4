"""Autocast's state for npu, under the names torch_npu gives it."""

import torch

__all__ = [
    "get_amp_supported_dtype",
    "get_autocast_dtype",
    "is_autocast_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]


def get_amp_supported_dtype() -> list[torch.dtype]:
    """Returns the types that torch.autocast("npu", dtype=...) accepts."""
    return [torch.float16, torch.bfloat16]


def is_autocast_enabled() -> bool:
    """Returns whether autocast is on for npu in this thread."""
    return torch.is_autocast_enabled("npu")


def set_autocast_enabled(enabled: bool) -> None:
    """Switches autocast for npu on or off in this thread."""
    torch.set_autocast_enabled("npu", enabled)


def get_autocast_dtype() -> torch.dtype:
    """Returns the type that autocast computes in on npu."""
    return torch.get_autocast_dtype("npu")


def set_autocast_dtype(dtype: torch.dtype) -> None:
    """Sets the type that autocast computes in on npu."""
    torch.set_autocast_dtype("npu", dtype)
