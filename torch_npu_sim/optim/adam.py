"""Adam, with decay in the gradient or decoupled from it."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, move_moments, require, require_betas
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedAdam", "NpuFusedAdamW"]


class _Adam(NpuFusedOptimizerBase):
    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        amsgrad: bool,
    ) -> None:
        require(lr >= 0, "learning rate", lr)
        require(eps >= 0, "epsilon value", eps)
        require_betas(betas)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        defaults = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(params, {**defaults, "weight_decay": weight_decay, "amsgrad": amsgrad})

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * bool(group["amsgrad"])

    def _move(self, part: Part, grad: torch.Tensor, group: dict[str, Any], step: int) -> None:
        """Moves the moments, then the parameters by them."""
        beta1, beta2 = group["betas"]
        mean, square = move_moments(part, grad, group["betas"])
        if group["amsgrad"]:
            largest = part.state["max_exp_avg_sq"]
            square = torch.maximum(largest, square, out=largest)
        denominator = (square.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
        part.flat.addcdiv_(mean, denominator, value=-group["lr"] / (1 - beta1**step))


class NpuFusedAdam(_Adam):
    """``torch.optim.Adam`` over flat tensors."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        """Takes what ``torch.optim.Adam`` takes."""
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        grad = part.grad
        if group["weight_decay"] != 0:
            grad = grad.add(part.flat, alpha=group["weight_decay"])
        self._move(part, grad, group, step)


class NpuFusedAdamW(_Adam):
    """``torch.optim.AdamW`` over flat tensors."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        """Takes what ``torch.optim.AdamW`` takes."""
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        part.flat.mul_(1 - group["lr"] * group["weight_decay"])
        self._move(part, part.grad, group, step)
