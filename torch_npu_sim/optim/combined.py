"""Tensors of one dtype laid end to end in one tensor, each of them a view of its piece."""

from collections.abc import Sequence

import torch

__all__ = ["Part", "combine", "pieces"]


def combine(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Moves the tensors into one flat tensor and makes each a view of its piece of it.

    Raises:
        RuntimeError: a tensor is not on npu, not contiguous, or of another dtype than the first.
    """
    for tensor in tensors:
        if tensor.device.type != "npu":
            raise RuntimeError(f"expected tensors on npu to combine, got one on {tensor.device}")
        if tensor.dtype != tensors[0].dtype:
            raise RuntimeError(
                f"expected tensors of one dtype to combine, got {tensors[0].dtype}, {tensor.dtype}"
            )
        if not tensor.is_contiguous():
            raise RuntimeError("expected contiguous tensors to combine, got strides of a view")
    with torch.no_grad():
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces(flat, tensors), strict=True):
            tensor.data = piece
    return flat


def pieces(flat: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the pieces of a flat tensor, in the shapes of the tensors that it was made of."""
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


class Part:
    """The parameters of one group and one dtype, with their gradients and states, each flat."""

    def __init__(self, params: list[torch.nn.Parameter], flat: torch.Tensor, grad: torch.Tensor):
        """Takes parameters, and the pieces of the flat tensors that they and their gradients are.

        The pieces are views, so that what is written here is written there.
        """
        self.params = params
        self.flat = flat
        self.grad = grad
        self.state: dict[str, torch.Tensor] = {}

    def of_each(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Returns the pieces of a tensor like `flat`, one a parameter, in its shape."""
        return pieces(flat, self.params)
