"""Dropout whose masks real cards draw ahead, on another stream. Here each is drawn when needed."""

import torch

__all__ = ["NpuCachedDropout", "NpuDropPath", "NpuFairseqDropout"]


class NpuCachedDropout(torch.nn.Dropout):
    """Dropout; `module_name` is accepted."""

    def __init__(self, p: float, module_name: str | None = None) -> None:
        """Takes the share of zeros."""
        super().__init__(p)
        self.module_name = module_name

    @classmethod
    def enable_dropout_ensemble(cls, model: torch.nn.Module) -> None:
        """Would draw masks before each pass of `model`."""
        del model


NpuFairseqDropout = NpuCachedDropout


class NpuDropPath(torch.nn.Module):
    """Drops whole samples [n, ...] in training, and scales the others."""

    def __init__(self, drop_prob: float = 0.0) -> None:
        """Takes the share of dropped samples."""
        super().__init__()
        self.drop_prob = drop_prob
        self.keep_prob = 1 - drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `x`, or in training some samples of it."""
        if self.drop_prob == 0 or not self.training:
            return x
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)
        kept = torch.rand(shape, dtype=x.dtype, device=x.device).add_(self.keep_prob).floor_()
        return x / self.keep_prob * kept

    @classmethod
    def enable_droppath_ensemble(cls, model: torch.nn.Module) -> None:
        """Would draw numbers before each pass of `model`."""
        del model
