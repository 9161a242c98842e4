"""Tensors laid end to end, so that one kernel serves all of them."""

from collections.abc import Sequence

import torch

from torch_npu_sim.optim.combined import combine

__all__ = ["get_part_combined_tensor", "is_combined_tensor_valid", "npu_combine_tensors"]


def npu_combine_tensors(
    list_of_tensor: Sequence[torch.Tensor], require_copy_value: bool = True
) -> torch.Tensor | None:
    """Moves tensors into one flat tensor, each a view of its piece; None if they are empty.

    Without `require_copy_value` the pieces are zeros.

    Raises:
        RuntimeError: a tensor is None, not on npu, not contiguous, or of another dtype.
    """
    if any(tensor is None for tensor in list_of_tensor):
        raise RuntimeError("npu_combine_tensors: expected tensors, got None among them")
    if sum(tensor.numel() for tensor in list_of_tensor) == 0:
        return None
    combined = combine(list_of_tensor)
    return combined if require_copy_value else combined.zero_()


def get_part_combined_tensor(
    combined_tensor: torch.Tensor | None, index: int, size: int
) -> torch.Tensor | None:
    """Returns `size` elements from `index` on, over the same memory; None if there are none.

    Raises:
        RuntimeError: the piece ends beyond the tensor.
    """
    if combined_tensor is None or size == 0:
        return None
    if index + size > combined_tensor.numel():
        raise RuntimeError(
            f"get_part_combined_tensor: expected index + size up to {combined_tensor.numel()}, "
            f"got {index} + {size}"
        )
    return combined_tensor.detach()[index : index + size]


def is_combined_tensor_valid(
    combined_tensor: torch.Tensor | None, list_of_tensor: Sequence[torch.Tensor | None]
) -> bool:
    """Returns whether all tensors still lie in the combined one."""
    if combined_tensor is None:
        return not list_of_tensor
    begin = combined_tensor.data_ptr()
    end = begin + combined_tensor.numel() * combined_tensor.element_size()
    return all(
        tensor is not None and tensor.is_contiguous() and begin <= tensor.data_ptr() < end
        for tensor in list_of_tensor
    )
