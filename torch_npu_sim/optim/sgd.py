"""Stochastic gradient descent with momentum."""

from collections.abc import Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, require
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedSGD"]


class NpuFusedSGD(NpuFusedOptimizerBase):
    """``torch.optim.SGD`` over flat tensors."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        """Takes what ``torch.optim.SGD`` takes; the learning rate has no default."""
        require(lr >= 0, "learning rate", lr)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**defaults, "weight_decay": weight_decay, "nesterov": nesterov})

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["momentum_buffer"] if group["momentum"] != 0 else []

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        grad = part.grad
        if group["weight_decay"] != 0:
            grad = grad.add(part.flat, alpha=group["weight_decay"])
        if group["momentum"] != 0:
            grad = self._with_momentum(part.state["momentum_buffer"], grad, group, step)
        part.flat.add_(grad, alpha=-group["lr"])

    def _with_momentum(
        self, buffer: torch.Tensor, grad: torch.Tensor, group: dict[str, Any], step: int
    ) -> torch.Tensor:
        # the first gradient is the buffer, whatever the dampening
        damped = 1.0 if step == 1 else 1 - group["dampening"]
        buffer.mul_(group["momentum"]).add_(grad, alpha=damped)
        return grad.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
