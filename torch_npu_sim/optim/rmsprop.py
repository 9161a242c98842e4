"""RMSprop as torch has it, and as TensorFlow has it."""

from collections.abc import Iterable
from typing import Any

import torch

from torch_npu_sim.optim.base import NpuFusedOptimizerBase, require
from torch_npu_sim.optim.combined import Part

__all__ = ["NpuFusedRMSprop", "NpuFusedRMSpropTF"]


class _RMSprop(NpuFusedOptimizerBase):
    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        require(defaults["lr"] >= 0, "learning rate", defaults["lr"])
        require(defaults["eps"] >= 0, "epsilon value", defaults["eps"])
        for name in ("momentum", "weight_decay", "alpha"):
            require(defaults[name] >= 0, f"{name} value", defaults[name])
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        names = ["square_avg"]
        names += ["momentum_buffer"] * (group["momentum"] > 0)
        return names + ["grad_avg"] * bool(group["centered"])


class NpuFusedRMSprop(_RMSprop):
    """``torch.optim.RMSprop`` over flat tensors."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        """Takes what ``torch.optim.RMSprop`` takes."""
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "momentum": momentum, "centered": centered})

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        alpha, grad, square = group["alpha"], part.grad, part.state["square_avg"]
        if group["weight_decay"] != 0:
            grad = grad.add(part.flat, alpha=group["weight_decay"])
        square.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        variance = square
        if group["centered"]:
            mean = part.state["grad_avg"]
            mean.mul_(alpha).add_(grad, alpha=1 - alpha)
            variance = square.addcmul(mean, mean, value=-1)
        root = variance.sqrt().add_(group["eps"])
        if group["momentum"] > 0:
            buffer = part.state["momentum_buffer"]
            buffer.mul_(group["momentum"]).addcdiv_(grad, root)
            part.flat.add_(buffer, alpha=-group["lr"])
        else:
            part.flat.addcdiv_(grad, root, value=-group["lr"])


class NpuFusedRMSpropTF(_RMSprop):
    """RMSprop with epsilon inside the root and averages that start at one.

    Unless `lr_in_momentum` is cleared, the momentum gathers steps rather than gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.9,
        eps: float = 1e-10,
        weight_decay: float = 0,
        momentum: float = 0.0,
        centered: bool = False,
        decoupled_decay: bool = False,
        lr_in_momentum: bool = True,
    ) -> None:
        """Takes the arguments of ``torch_npu.optim.NpuFusedRMSpropTF``."""
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"momentum": momentum, "centered": centered}
        own = {"decoupled_decay": decoupled_decay, "lr_in_momentum": lr_in_momentum}
        super().__init__(params, {**defaults, **own})

    def _initial(self, name: str, param: torch.nn.Parameter, group: dict[str, Any]) -> torch.Tensor:
        return torch.ones_like(param) if name == "square_avg" else torch.zeros_like(param)

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        rate, grad, square = 1 - group["alpha"], part.grad, part.state["square_avg"]
        if group["weight_decay"] != 0 and group["decoupled_decay"]:
            part.flat.mul_(1 - group["weight_decay"])
        elif group["weight_decay"] != 0:
            grad = grad.add(part.flat, alpha=group["weight_decay"])
        square.add_(grad.pow(2) - square, alpha=rate)
        variance = square
        if group["centered"]:
            mean = part.state["grad_avg"]
            mean.add_(grad - mean, alpha=rate)
            variance = square.addcmul(mean, mean, value=-1)
        root = variance.add(group["eps"]).sqrt_()
        if group["momentum"] <= 0:
            part.flat.addcdiv_(grad, root, value=-group["lr"])
            return
        inside, outside = (group["lr"], 1.0) if group["lr_in_momentum"] else (1.0, group["lr"])
        buffer = part.state["momentum_buffer"]
        buffer.mul_(group["momentum"]).addcdiv_(grad, root, value=inside)
        part.flat.add_(buffer, alpha=-outside)
