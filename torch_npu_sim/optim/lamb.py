"""LAMB: Adam's step scaled, a parameter at a time, by the norms of parameter and step."""

from collections.abc import Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, move_moments, require, require_betas
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedLamb"]

_LARGEST_NORM = 10.0  # of a parameter, as the trust ratio counts it


class NpuFusedLamb(NpuFusedOptimizerBase):
    """LAMB without bias correction; with `adam` the trust ratio is 1."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0,
        adam: bool = False,
        use_global_grad_norm: bool = False,
    ) -> None:
        """Takes the arguments of ``torch_npu.optim.NpuFusedLamb``.

        With `use_global_grad_norm` gradients whose common norm exceeds 1 are scaled to norm 1.
        """
        require(lr >= 0, "learning rate", lr)
        require_betas(betas)
        require(eps >= 0, "epsilon value", eps)
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.adam = adam
        self.use_global_grad_norm = use_global_grad_norm
        self.global_grad_norm = 1.0

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        return ["exp_avg", "exp_avg_sq"]

    def _before_groups(self) -> None:
        if not self.use_global_grad_norm:
            return
        grads = [g for g in self.grads_all_group_combined if g is not None]
        squares = [g.float().pow(2).sum() for g in grads]
        self.global_grad_norm = float(torch.stack(squares).sum().sqrt()) if squares else 1.0

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        grad = part.grad
        if self.global_grad_norm > 1:
            grad = grad / self.global_grad_norm
        mean, square = move_moments(part, grad, group["betas"])
        move = mean / square.sqrt().add_(group["eps"])
        if group["weight_decay"] != 0:
            move.add_(part.flat, alpha=group["weight_decay"])
        if self.adam:
            part.flat.add_(move, alpha=-group["lr"])
        else:
            part.flat.addcmul_(move, _trust(part, move), value=-group["lr"])


def _trust(part: Part, move: torch.Tensor) -> torch.Tensor:
    """The trust ratio of each parameter, at all its places; 1 where a norm is zero."""
    ratios = torch.empty_like(part.flat)
    pairs = zip(part.params, part.of_each(move), part.of_each(ratios), strict=True)
    for param, own_move, ratio in pairs:
        weight_norm = param.pow(2).sum().sqrt().clamp(0, _LARGEST_NORM)
        move_norm = own_move.pow(2).sum().sqrt()
        absent = (weight_norm == 0) | (move_norm == 0)
        ratio.copy_(torch.where(absent, torch.ones_like(move_norm), weight_norm / move_norm))
    return ratios
