"""Adam as BERT was trained with it: no bias correction, clipping, a warm-up of the rate."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, move_moments, require
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedBertAdam"]

# Share of the learning rate when the share `x` of all steps is done, after the warm-up to `w`.
_SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "warmup_cosine": lambda x, w: 0.5 * (1 + math.cos(math.pi * x)),
    "warmup_constant": lambda x, w: 1.0,
    "warmup_linear": lambda x, w: max((x - 1) / (w - 1), 0.0),
    "warmup_poly": lambda x, w: (1 - x) ** 0.5,
}


class NpuFusedBertAdam(NpuFusedOptimizerBase):
    """Adam without bias correction, its decay decoupled, gradients clipped a dtype and group."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        warmup: float = -1,
        t_total: int = -1,
        schedule: str = "warmup_linear",
        b1: float = 0.9,
        b2: float = 0.999,
        e: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
    ) -> None:
        """Takes the arguments of ``torch_npu.optim.NpuFusedBertAdam``.

        `warmup` is a share of the `t_total` steps; -1 for no warm-up, and for no end. A
        `max_grad_norm` of -1 clips nothing.
        """
        require(lr >= 0, "learning rate", lr)
        require(warmup == -1 or 0 <= warmup < 1, "warmup", warmup)
        require(schedule in _SCHEDULES, "schedule parameter", schedule)
        require(0 <= b1 < 1, "b1 parameter", b1)
        require(0 <= b2 < 1, "b2 parameter", b2)
        require(e >= 0, "epsilon value", e)
        defaults = {"lr": lr, "schedule": schedule, "warmup": warmup, "t_total": t_total}
        defaults |= {"b1": b1, "b2": b2, "e": e, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "max_grad_norm": max_grad_norm})
        self.max_grad_norm = max_grad_norm

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["exp_avg", "exp_avg_sq"]

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        grad = part.grad
        if self.max_grad_norm > 0:
            norm = torch.linalg.vector_norm(grad.float())
            grad.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1))
        mean, square = move_moments(part, grad, (group["b1"], group["b2"]))
        move = mean / square.sqrt().add_(group["e"])
        if group["weight_decay"] > 0:
            move.add_(part.flat, alpha=group["weight_decay"])
        part.flat.add_(move, alpha=-_scheduled(group, step - 1))


def _scheduled(group: dict[str, Any], done: int) -> float:
    rate, warmup = float(group["lr"]), group["warmup"]
    if group["t_total"] == -1:
        return rate
    share = done / group["t_total"]
    return rate * (
        share / warmup if share < warmup else _SCHEDULES[group["schedule"]](share, warmup)
    )
