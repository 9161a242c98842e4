"""Dropout with a byte for each element of its mask."""

import torch

__all__ = ["dropout_with_byte_mask"]


def dropout_with_byte_mask(
    input1: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Calls the operator of the same name.

    Raises:
        ValueError: `p` is not in [0, 1], or `inplace` is asked for.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout_with_byte_mask: expected p in [0, 1], got {p}")
    if inplace:
        raise ValueError("dropout_with_byte_mask: expected inplace=False, got True")
    dropped: torch.Tensor = torch.ops.npu.dropout_with_byte_mask(input1, p, training)
    return dropped
