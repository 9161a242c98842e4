"""Optimizers: parameters and state after some steps, in every configuration; wrong use."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.testing._internal.common_optimizers import (
    OptimizerErrorEnum,
    _get_optim_inputs_including_global_cliquey_kwargs,
)

from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.compare import (
    assert_same,
    assert_same_error,
    assert_same_tensor,
    behaviour,
    expect_equal,
    tensors,
)
from tests.conformance.samples import NPU, seed, to_npu

STEPS = 4


@dataclass
class Configuration:
    """One way to construct an optimizer."""

    kwargs: dict[str, Any]
    sparse: bool = False
    left_to_npu: bool = False
    """Whether npu is told neither `foreach` nor `fused`; it must then take foreach by itself."""

    @property
    def values(self) -> Any:
        """What a message shows of the configuration."""
        choice = "foreach left to npu" if self.left_to_npu else "foreach as told"
        return self.kwargs, "sparse gradients" if self.sparse else "dense gradients", choice


def _configurations(info: Any, dtype: torch.dtype) -> list[Configuration]:
    """Torch's for the CPU; and foreach, which torch offers on accelerators only, said outright.

    Left to choose, torch takes foreach on npu and not on the CPU (torch/utils/_foreach_utils.py:12)
    and rounds in another order. So npu's own choice is compared with the CPU's foreach.
    """
    if info.only_supports_sparse_grads:
        return []
    made = _get_optim_inputs_including_global_cliquey_kwargs("cpu", dtype, info)
    if "foreach" not in info.supported_impls:
        return [Configuration(one.kwargs) for one in made]
    chosen = [one.kwargs | {"foreach": False} for one in made]
    plain = [k for k in chosen if not k.get("fused") and not k.get("differentiable")]
    foreach = [k | {"foreach": True} for k in plain]
    told = [Configuration(kwargs) for kwargs in chosen + foreach]
    return told + [Configuration(kwargs, left_to_npu=True) for kwargs in foreach]


def _parameters(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    """A matrix, a vector and a scalar."""
    seed(0)
    shapes = [(6, 4), (3,), ()]
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]


def _gradients(parameters: list[torch.nn.Parameter], *, sparse: bool) -> list[torch.Tensor]:
    grads = [torch.randn(p.shape, dtype=p.dtype) for p in parameters]
    if not sparse:
        return grads
    return [
        (g * (torch.arange(g.shape[0]) % 2).reshape(-1, *[1] * (g.dim() - 1))).to_sparse(1)
        for g in grads
    ]


def _step(optimizer: Any, parameters: list[torch.nn.Parameter], grads: list[torch.Tensor]) -> Any:
    def closure() -> torch.Tensor:
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        return sum(p.detach().abs().sum() for p in parameters)  # type: ignore[return-value]

    if optimizer.defaults.get("differentiable", False):
        closure()
        with torch.no_grad():
            return optimizer.step()
    return optimizer.step(closure)


def _select(info: Any, parameters: list[Any], *, sparse: bool) -> list[Any]:
    if info.name == "Muon":
        return parameters[:1]  # it takes matrices only
    return parameters[:2] if sparse else parameters


def _kwargs_on_npu(made: Configuration) -> dict[str, Any]:
    kwargs: dict[str, Any] = to_npu(copy.deepcopy(made.kwargs))
    if made.left_to_npu:
        del kwargs["foreach"]
        kwargs.pop("fused", None)  # a False would be a choice: then torch does not take foreach
    return kwargs


def _compare_steps(info: Any, dtype: torch.dtype, made: Configuration) -> None:
    cpu = _select(info, _parameters(dtype), sparse=made.sparse)
    npu = [torch.nn.Parameter(to_npu(p.detach())) for p in cpu]
    with cpu_side():
        at_cpu = info.optim_cls(cpu, **copy.deepcopy(made.kwargs))
    at_npu = info.optim_cls(npu, **_kwargs_on_npu(made))
    for _ in range(STEPS):
        grads = _gradients(cpu, sparse=made.sparse)
        with cpu_side():
            expected = _step(at_cpu, cpu, grads)
        assert_same(_step(at_npu, npu, [g.to(NPU) for g in grads]), expected)
        assert_same(npu, cpu)
    _assert_same_state(at_npu, at_cpu)
    _assert_same_state(_loaded(info, npu, at_npu, made), _loaded(info, cpu, at_cpu, made))


def _loaded(info: Any, params: list[Any], optimizer: Any, made: Configuration) -> Any:
    """Another optimizer of the same kind that has loaded the state."""
    on_npu = params[0].device.type == "npu"
    kwargs = _kwargs_on_npu(made) if on_npu else copy.deepcopy(made.kwargs)
    fresh = info.optim_cls([p.detach().clone() for p in params], **kwargs)
    fresh.load_state_dict(optimizer.state_dict())
    return fresh


def _assert_same_state(npu: Any, cpu: Any) -> None:
    """The same state; step counts lie on the CPU for both unless capturable or fused."""
    got, expected = (tensors(one.state_dict()["state"]) for one in (npu, cpu))
    expect_equal("number of tensors in the state", len(got), len(expected))
    for one, other in zip(got, expected, strict=True):
        assert_same_tensor(one, other)


def _run_steps(info: Any, dtype: torch.dtype) -> Tally:
    made = _configurations(info, dtype)
    return each(made, lambda one: _compare_steps(info, dtype, one))


def _run_sparse(info: Any, dtype: torch.dtype) -> Tally:
    kwargs, _ = info.metadata_for_sparse
    made = [Configuration(dict(kwargs), sparse=True)]
    return each(made, lambda one: _compare_steps(info, dtype, one))


def _run_schedulers(info: Any, dtype: torch.dtype) -> Tally:
    def compare(constructors: list[Callable[[Any], Any]]) -> None:
        def rates(device: str) -> list[Any]:
            params = [
                p.to(device).detach() for p in _select(info, _parameters(dtype), sparse=False)
            ]
            for p in params:
                p.grad = torch.ones_like(p)
            optimizer = info.optim_cls(params, lr=0.01)
            schedulers = [make(optimizer) for make in constructors]
            seen = []
            for _ in range(STEPS):
                optimizer.step(lambda: torch.ones((), device=device))
                for scheduler in schedulers:
                    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                    scheduler.step(*([1.0] if plateau else []))
                seen.append([group["lr"] for group in optimizer.param_groups])
            return seen

        with cpu_side():
            expected = rates("cpu")
        assert_same(rates(NPU), expected)

    return each(info.scheduler_inputs, compare)


def _run_errors(info: Any, dtype: torch.dtype) -> Tally:
    def compare(pair: tuple[Any, Any]) -> None:
        def use(wrong: Any) -> Any:
            made = wrong.optimizer_error_input
            optimizer = info.optim_cls(made.params, **made.kwargs)
            return optimizer.step() if wrong.error_on is OptimizerErrorEnum.STEP_ERROR else None

        at_cpu = behaviour(lambda: use(pair[0]))
        if at_cpu.error is None:
            raise CpuRefuses("the CPU lets the call through")
        assert_same_error(behaviour(lambda: use(pair[1])).error, at_cpu.error)

    def drawn(device: str) -> list[Any]:
        seed(0)
        return list(info.optim_error_inputs_func(device, dtype))

    # torch lists errors of construction for the CPU only, though they do not depend on the device.
    moved = drawn("cpu")
    for one in moved:
        made = one.optimizer_error_input
        made.params, made.kwargs = to_npu((made.params, made.kwargs))
    return each(zip(drawn("cpu"), moved, strict=True), compare)


_DTYPES = [torch.bfloat16, torch.complex64, torch.float16, torch.float32, torch.float64]


def _dtypes(info: Any) -> list[torch.dtype]:
    return [d for d in _DTYPES if info.supports_complex or not d.is_complex]


CHECKS = (
    Check(
        "steps",
        f"parameters, state and loss over {STEPS} steps of every configuration (foreach, fused and "
        "differentiable among them), and loading the state",
        _dtypes,
        _run_steps,
    ),
    Check(
        "sparse",
        f"the same with sparse gradients, {STEPS} steps",
        lambda info: (
            [torch.float32, torch.float64]
            if info.supports_sparse or info.only_supports_sparse_grads
            else []
        ),
        _run_sparse,
    ),
    Check("schedulers", "learning rates", lambda info: [torch.float32], _run_schedulers),
    Check(
        "errors",
        "type and message of the error for wrong arguments",
        lambda info: [torch.float32] if info.optim_error_inputs_func is not None else [],
        _run_errors,
    ),
)
