"""Modules over torch_npu_sim.contrib.function.npu_functional."""

import torch

from torch_npu_sim.contrib.function.npu_functional import dropout_with_byte_mask

__all__ = ["DropoutWithByteMask"]


class DropoutWithByteMask(torch.nn.Module):
    """Dropout with a byte for each element of its mask."""

    def __init__(self, p: float = 0.5, inplace: bool = False, max_seed: int = 2**10 - 1) -> None:
        """Takes the share of zeros; `max_seed` is accepted, as random numbers are torch's."""
        del max_seed
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"DropoutWithByteMask: expected p in [0, 1], got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input1: torch.Tensor) -> torch.Tensor:
        """Drops elements in training."""
        return dropout_with_byte_mask(input1, self.p, self.training, self.inplace)
