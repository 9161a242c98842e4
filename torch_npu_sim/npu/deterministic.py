"""Determinism: regions of a model's forward and backward, and levels.

Every kernel here gives the same bits each time, so these only keep torch's own switch.
"""

from typing import Any

import torch

__all__ = [
    "disable_deterministic_with_backward",
    "enable_deterministic_with_backward",
    "set_deterministic_level",
]


class _Switch(torch.autograd.Function):
    """Sets torch's switch on the way forward, and to the opposite on the way back."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, on: bool) -> torch.Tensor:
        ctx.on = on
        torch.use_deterministic_algorithms(on)
        return tensor

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, None]:
        torch.use_deterministic_algorithms(not ctx.on)
        return grads[0], None


def enable_deterministic_with_backward(tensor: torch.Tensor) -> torch.Tensor:
    """Begins a deterministic region at `tensor`; backward leaves it here."""
    switched: torch.Tensor = _Switch.apply(tensor, True)  # type: ignore[no-untyped-call]
    return switched


def disable_deterministic_with_backward(tensor: torch.Tensor) -> torch.Tensor:
    """Ends a deterministic region at `tensor`; backward enters it here."""
    switched: torch.Tensor = _Switch.apply(tensor, False)  # type: ignore[no-untyped-call]
    return switched


def set_deterministic_level(level: int) -> None:
    """Switches torch's deterministic algorithms off (0) or on (1, or 2 for batch invariance too).

    Raises:
        ValueError: the level is another.
    """
    if level not in (0, 1, 2):
        raise ValueError(f"set_deterministic_level: expected level 0, 1 or 2, got {level}")
    torch.use_deterministic_algorithms(level > 0)
