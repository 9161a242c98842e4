"""The dtypes that an operator is asked in."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


def in_order(dtypes: Iterable[torch.dtype]) -> list[torch.dtype]:
    """The dtypes by name, so that two runs go the same way."""
    return sorted(dtypes, key=str)


def forward_dtypes(op: Any) -> list[torch.dtype]:
    """Every dtype that the CPU supports."""
    return in_order(op.supported_dtypes("cpu"))


def backward_dtypes(op: Any) -> list[torch.dtype]:
    """Every dtype that the CPU supports backward in."""
    if not op.supports_autograd:
        return []
    both = op.supported_backward_dtypes("cpu") & op.supported_dtypes("cpu")
    return in_order(dtype for dtype in both if dtype.is_floating_point or dtype.is_complex)


def only_if(
    holds: Callable[[Any], bool], dtypes: Callable[[Any], list[torch.dtype]]
) -> Callable[[Any], list[torch.dtype]]:
    """The dtypes of operators for which a condition holds."""
    return lambda op: dtypes(op) if holds(op) else []
