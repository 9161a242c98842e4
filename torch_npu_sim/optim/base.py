"""What the fused optimizers share: combining, the loop over groups, gradients that stay put."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from torch_npu_sim.optim.combined import Part, combine

__all__ = ["NpuFusedOptimizerBase", "move_moments", "require", "require_betas"]

_DTYPES = (torch.float32, torch.float16)


def require(condition: bool, what: str, value: object) -> None:
    """Raises ValueError "Invalid `what`: `value`" unless the condition holds."""
    if not condition:
        raise ValueError(f"Invalid {what}: {value}")


def require_betas(betas: tuple[float, float]) -> None:
    """Raises ValueError unless both are decay rates of Adam's averages, in [0, 1)."""
    for i, beta in enumerate(betas):
        require(0 <= beta < 1, f"beta parameter at index {i}", beta)


def move_moments(
    part: Part, grad: torch.Tensor, betas: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves a part's `exp_avg` towards `grad` and `exp_avg_sq` towards its square; returns both."""
    beta1, beta2 = betas
    mean, square = part.state["exp_avg"], part.state["exp_avg_sq"]
    mean.mul_(beta1).add_(grad, alpha=1 - beta1)
    square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    return mean, square


class NpuFusedOptimizerBase(Optimizer):
    """An optimizer over flat tensors; a subclass says its states and how one part moves.

    The first step moves parameters, gradients and states into flat tensors, one a dtype. From then
    on gradients keep their place: ``zero_grad`` fills them with zeros and cannot drop them.
    """

    def __init__(self, params: Iterable[Any], default: dict[str, Any]) -> None:
        """Takes parameters or groups of them, and the defaults of a group."""
        super().__init__(params, default)
        self.is_fused_optimizer = True
        self.is_params_grads_combined = False
        self.is_states_combined = False
        self.params_all_group_combined: list[torch.Tensor | None] = [None, None]
        self.grads_all_group_combined: list[torch.Tensor | None] = [None, None]
        self._parts: list[list[Part]] = []

    # What a subclass says.

    def _state_names(self, group: dict[str, Any]) -> list[str]:
        """Names of the state tensors of a parameter."""
        raise NotImplementedError

    def _initial(self, name: str, param: torch.nn.Parameter, group: dict[str, Any]) -> torch.Tensor:
        """A state tensor before the first step."""
        return torch.zeros_like(param)

    def _update(self, part: Part, group: dict[str, Any], step: int) -> None:
        """Moves the parameters of a part; `step` counts from 1."""
        raise NotImplementedError

    # What they share.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves all parameters that had a gradient at the first step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._combine()
            self._before_groups()
            for group, parts in zip(self.param_groups, self._parts, strict=True):
                for part in parts:
                    self._update(part, group, self._count_step(part))
        return loss

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Fills the gradients with zeros.

        Raises:
            ValueError: `set_to_none` is set; the gradients must stay where they are.
        """
        if set_to_none:
            raise ValueError("set_to_none is not supported in fused optimizers")
        if not self.is_params_grads_combined:
            super().zero_grad(set_to_none=False)
        for grads in self.grads_all_group_combined:
            if grads is not None:
                grads.zero_()

    def clip_grad_norm_fused_(self, max_norm: float, norm_type: float = 2) -> torch.Tensor:
        """Scales all gradients to a common norm of at most `max_norm`; returns the norm."""
        with torch.no_grad():
            self._combine_params_and_grads()
            grads = [g for g in self.grads_all_group_combined if g is not None]
            if not grads:
                return torch.tensor(0.0)
            norms = torch.stack([torch.linalg.vector_norm(g.float(), norm_type) for g in grads])
            total: torch.Tensor = torch.linalg.vector_norm(norms, norm_type)
            if (scale := float(max_norm) / (total + 1e-6)) < 1:
                for grad in grads:
                    grad.mul_(scale)
            return total

    def get_combined_params(self) -> list[torch.Tensor | None]:
        """Returns all parameters as one tensor a dtype: float32, then float16."""
        return self.params_all_group_combined

    def get_combined_grads(self) -> list[torch.Tensor | None]:
        """Returns all gradients as one tensor a dtype: float32, then float16."""
        return self.grads_all_group_combined

    def load_state_dict(self, state_dict: Any) -> None:
        """Loads states; the next step combines them."""
        super().load_state_dict(state_dict)
        self.is_states_combined = False

    def _before_groups(self) -> None:
        """Called once a step, when all is combined."""

    def _combine(self) -> None:
        self._combine_params_and_grads()
        for parts in self._parts:
            for part in parts:
                self._follow_grads(part)
        if self.is_states_combined or not self.is_params_grads_combined:
            return
        for group, parts in zip(self.param_groups, self._parts, strict=True):
            for part in parts:
                self._combine_states(part, group)
        self.is_states_combined = True

    def _combine_params_and_grads(self) -> None:
        if self.is_params_grads_combined:
            return
        chosen = [self._chosen(group["params"]) for group in self.param_groups]
        self._parts = [[] for _ in self.param_groups]
        for index in range(len(_DTYPES)):
            params = [param for group in chosen for param in group[index]]
            if not params:
                continue
            flat = combine(params)
            grad = combine([_grad_of(param) for param in params])
            self.params_all_group_combined[index] = flat
            self.grads_all_group_combined[index] = grad
            sizes = [sum(param.numel() for param in group[index]) for group in chosen]
            own = zip(
                self._parts, chosen, torch.split(flat, sizes), torch.split(grad, sizes), strict=True
            )
            for parts, group, one, other in own:
                if group[index]:
                    parts.append(Part(group[index], one, other))
            self.is_params_grads_combined = True

    def _chosen(self, params: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
        chosen: list[list[torch.nn.Parameter]] = [[] for _ in _DTYPES]
        for param in params:
            if param.grad is None:
                continue
            if param.grad.is_sparse:
                raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
            if param.dtype not in _DTYPES:
                raise TypeError(
                    "Fused optimizer's parameters must be either float32 or float16, but received "
                    f"{param.dtype}"
                )
            if not param.grad.is_contiguous():
                param.grad = param.grad.contiguous()
            chosen[_DTYPES.index(param.dtype)].append(param)
        return chosen

    def _follow_grads(self, part: Part) -> None:
        """Takes over gradients that somebody put in the place of the combined ones."""
        for param, piece in zip(part.params, part.of_each(part.grad), strict=True):
            if param.grad is None:
                raise RuntimeError(
                    f"{type(self).__name__}: expected the gradient that was combined, got None; "
                    "zero gradients by the optimizer's zero_grad(), or with set_to_none=False"
                )
            if param.grad.data_ptr() != piece.data_ptr():
                piece.copy_(param.grad)
                param.grad = piece

    def _combine_states(self, part: Part, group: dict[str, Any]) -> None:
        for param in part.params:
            self.state[param].setdefault("step", 0)
        for name in self._state_names(group):
            for param in part.params:
                if name not in self.state[param]:
                    self.state[param][name] = self._initial(name, param, group)
            part.state[name] = combine([self.state[param][name] for param in part.params])

    def _count_step(self, part: Part) -> int:
        for param in part.params:
            self.state[param]["step"] += 1
        return int(self.state[part.params[0]]["step"])


def _grad_of(param: torch.nn.Parameter) -> torch.Tensor:
    assert param.grad is not None
    return param.grad
