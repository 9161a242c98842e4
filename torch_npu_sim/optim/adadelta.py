"""Adadelta: steps in the ratio of the averages of squared steps and squared gradients."""

from collections.abc import Iterable
from typing import Any

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, require
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedAdadelta"]


class NpuFusedAdadelta(NpuFusedOptimizerBase):
    """``torch.optim.Adadelta`` over flat tensors."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
    ) -> None:
        """Takes what ``torch.optim.Adadelta`` takes."""
        require(lr >= 0, "learning rate", lr)
        require(0 <= rho <= 1, "rho value", rho)
        require(eps >= 0, "epsilon value", eps)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["square_avg", "acc_delta"]

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        rho, eps, grad = group["rho"], group["eps"], part.grad
        if group["weight_decay"] != 0:
            grad = grad.add(part.flat, alpha=group["weight_decay"])
        square, steps = part.state["square_avg"], part.state["acc_delta"]
        square.mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = steps.add(eps).sqrt_().div_(square.add(eps).sqrt_()).mul_(grad)
        part.flat.add_(delta, alpha=-group["lr"])
        steps.mul_(rho).addcmul_(delta, delta, value=1 - rho)
