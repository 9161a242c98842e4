"""Number formats of the card under the names of torch_npu's extension, and casts to 8 bits."""

from types import SimpleNamespace

import torch

from torch_npu_sim.formats import DTYPES

__all__ = ["DType", "cast_from_fp8", "cast_to_fp8"]

DType = SimpleNamespace(**DTYPES)


def cast_to_fp8(tensor: torch.Tensor, otype: int) -> torch.Tensor:
    """Returns `tensor` cast to a format of 8 bits."""
    cast: torch.Tensor = torch.ops.npu.npu_dtype_cast(tensor, otype)
    return cast


def cast_from_fp8(tensor: torch.Tensor, itype: int, otype: int) -> torch.Tensor:
    """Returns codes of 8 bits cast to another format."""
    cast: torch.Tensor = torch.ops.npu.npu_dtype_cast(tensor, otype, itype)
    return cast
