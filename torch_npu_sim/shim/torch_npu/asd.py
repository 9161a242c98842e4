"""Checks for silent faults of the hardware: a simulated card has none, and they say so."""

import torch

__all__ = ["_matmul_checksum"]


def _matmul_checksum(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Returns whether `c` differs from `a @ b` by more than roundings, as a scalar bool tensor.

    Sums of rows are compared: those of `c`, and `a` times those of `b`. The bound is torch_npu's:
    5 times 2^-8 a summand.

    Raises:
        TypeError: an operand is no npu tensor.
    """
    for name, tensor in (("a", a), ("b", b), ("c", c)):
        if not (isinstance(tensor, torch.Tensor) and tensor.device.type == "npu"):
            raise TypeError(f"matmul_checksum: expected {name} as a tensor on npu, got {tensor!r}")
    expected = (a.float() @ b.float().sum(-1, keepdim=True)).squeeze(-1)
    bound = 5 * 2.0**-8 * c.float().abs().mean(-1) * b.shape[-1]
    return ((c.float().sum(-1) - expected).abs() > bound + 1e-19).any()
