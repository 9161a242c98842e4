"""AdamP: Adam less the part of the step that only lengthens a weight."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, move_moments
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedAdamP"]


class NpuFusedAdamP(NpuFusedOptimizerBase):
    """Adam whose step is projected where gradient and weight are nearly orthogonal."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        nesterov: bool = False,
    ) -> None:
        """Takes the arguments of ``torch_npu.optim.NpuFusedAdamP``.

        `delta` bounds the cosine below which a step is projected; `wd_ratio` scales the decay then.
        """
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        own = {"delta": delta, "wd_ratio": wd_ratio, "nesterov": nesterov}
        super().__init__(params, {**defaults, **own})

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["exp_avg", "exp_avg_sq"]

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        beta1, beta2 = group["betas"]
        mean, square = move_moments(part, part.grad, group["betas"])
        denominator = (square.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
        move = mean
        if group["nesterov"]:
            move = beta1 * mean + (1 - beta1) * part.grad
        move = move / denominator
        ratios = torch.ones_like(part.flat)
        each = zip(part.params, part.of_each(move), part.of_each(ratios), strict=True)
        for param, own_move, ratio in each:
            if param.dim() > 1 and _project(param, own_move, group):
                ratio.fill_(group["wd_ratio"])
        if group["weight_decay"] > 0:
            part.flat.mul_(1 - group["lr"] * group["weight_decay"] * ratios)
        part.flat.add_(move, alpha=-group["lr"] / (1 - beta1**step))


def _project(param: torch.nn.Parameter, move: torch.Tensor, group: dict[str, Any]) -> bool:
    """Takes the weight's direction out of its step, by channels or as a whole; says whether."""
    assert param.grad is not None
    for rows in (param.shape[0], 1):
        weight, grad = param.view(rows, -1), param.grad.view(rows, -1)
        lengths = (weight.norm(dim=1) + group["eps"]) * (grad.norm(dim=1) + group["eps"])
        cosine = (weight * grad).sum(dim=1).abs() / lengths
        if cosine.max() < group["delta"] / math.sqrt(weight.shape[1]):
            unit = weight / (weight.norm(dim=1, keepdim=True) + group["eps"])
            own = move.view(rows, -1)
            own.sub_(unit * (unit * own).sum(dim=1, keepdim=True))
            return True
    return False
