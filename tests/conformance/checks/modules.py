"""Modules: made on the CPU and moved, made on npu, forward, backward, wrong use."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum
from torch.testing._internal.common_utils import freeze_rng_state
from torch.utils._pytree import tree_map

from tests.conformance.checks.backward import differentiable
from tests.conformance.checks.check import Check, CpuRefuses, Tally, cpu_side, each
from tests.conformance.checks.dtypes import in_order
from tests.conformance.compare import (
    assert_same,
    assert_same_error,
    behaviour,
    expect_equal,
    tensors,
)
from tests.conformance.samples import NPU, Sample, same_meaning, seed

# On the CPU, and only there, torch multiplies the inputs of all steps at once (FullLayer in
# ATen/native/RNN.cpp) and composes the cells that accelerators fuse, so sums are rounded in another
# order. In second gradients terms cancel: against float64, single elements of the CPU's own float32
# answer are off by 2e-3 of themselves (GRU), but by no more than 5e-6 of the tensor's largest
# element; npu's by the same. So the difference is measured against that one.
RECURRENT = {"GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"}
ROUNDINGS = 128  # of the largest element, at most

# LinearCrossEntropyLoss alone has 857 cases.
CASES = 128
BOUND = f"every case; of more than {CASES}, that many, evenly spread"


def _spread(made: list[Any]) -> list[Any]:
    return made[:: math.ceil(len(made) / CASES)] if made else made


@dataclass
class Case:
    """One module on both devices with its arguments, in training or in evaluation."""

    cpu: torch.nn.Module
    npu: torch.nn.Module
    arguments: Sample
    npu_arguments: Sample

    @property
    def values(self) -> Any:
        """What a message shows of the case."""
        return type(self.cpu).__name__, self.cpu.training, self.arguments.values


def _inputs(made: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(made.args), dict(made.kwargs)


def _arguments(made: Any) -> Sample:
    return Sample(None, *_inputs(made.forward_input))


def _cases(info: Any, dtype: torch.dtype, *, requires_grad: bool) -> Iterator[Case]:
    for training in (True, False) if info.train_and_eval_differ else (True,):
        seed(0)
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training
        )
        for made in _spread([one for one in inputs if one.forward_input is not None]):
            args, kwargs = tree_map(same_meaning, _inputs(made.constructor_input))
            seed(0)
            module = info.module_cls(*args, **kwargs).to(dtype)
            module.train(training)
            moved = copy.deepcopy(module).to(NPU)
            arguments = _arguments(made)
            yield Case(module, moved, arguments, arguments.to_npu())


def _forward(module: torch.nn.Module, sample: Sample) -> Any:
    with freeze_rng_state():
        seed(1)
        return module(*sample.args, **sample.kwargs)


def _assert_same_state(case: Case) -> None:
    assert_same(dict(case.npu.state_dict()), dict(case.cpu.state_dict()))


def _wanting(module: torch.nn.Module, sample: Sample) -> list[torch.Tensor]:
    inputs = [x for x in tensors(sample.values) if x.requires_grad]
    return [*inputs, *(p for p in module.parameters() if p.requires_grad)]


def _gradients(
    module: torch.nn.Module, sample: Sample, *, second: bool
) -> tuple[torch.Tensor | None, ...]:
    outputs, inputs = differentiable(_forward(module, sample)), _wanting(module, sample)
    if not outputs or not inputs:
        raise CpuRefuses("nothing to differentiate")
    first = torch.autograd.grad(
        outputs,
        inputs,
        [torch.ones_like(y) for y in outputs],
        allow_unused=True,
        create_graph=second,
    )
    if not second:
        return first
    again = [g for g in first if g is not None and g.requires_grad]
    if not again:
        raise CpuRefuses("the first gradients do not depend on the inputs")
    starts = [(2 * g).detach() for g in again]
    return torch.autograd.grad(again, inputs, starts, allow_unused=True)


def _run_forward(info: Any, dtype: torch.dtype) -> Tally:
    def compare(case: Case) -> None:
        with cpu_side():
            expected = _forward(case.cpu, case.arguments)
        assert_same(_forward(case.npu, case.npu_arguments), expected)
        _assert_same_state(case)

    return each(_cases(info, dtype, requires_grad=False), compare)


def _roundings(x: torch.Tensor | None) -> float:
    """So many roundings of the largest element of a tensor."""
    if x is None or x.numel() == 0:
        return 0.0
    return ROUNDINGS * torch.finfo(x.dtype).eps * float(x.abs().max())


def _run_backward(info: Any, dtype: torch.dtype, *, second: bool = False) -> Tally:
    def compare(case: Case) -> None:
        with cpu_side():
            expected = _gradients(case.cpu, case.arguments, second=second)
        got = _gradients(case.npu, case.npu_arguments, second=second)
        if second and type(case.cpu).__name__ in RECURRENT:
            for one, other in zip(got, expected, strict=True):
                assert_same(one, other, rtol=0.0, atol=_roundings(other))
        else:
            assert_same(got, expected)

    return each(_cases(info, dtype, requires_grad=True), compare)


def _run_second(info: Any, dtype: torch.dtype) -> Tally:
    return _run_backward(info, dtype, second=True)


def _initialised(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The entries that have values; those of lazy modules have none before the first call."""
    uninitialised = torch.nn.parameter.UninitializedTensorMixin
    return {name: x for name, x in state.items() if not isinstance(x, uninitialised)}


def _run_moves(info: Any, dtype: torch.dtype) -> Tally:
    """to(npu) keeps every Parameter object, and back again gives the same state."""

    def compare(case: Case) -> None:
        module = case.cpu
        before, state = list(module.parameters()), copy.deepcopy(dict(module.state_dict()))
        module.to(NPU)
        kept = [a is b for a, b in zip(module.parameters(), before, strict=True)]
        expect_equal("parameters that stayed the same objects", kept, [True] * len(before))
        known = _initialised(state)
        assert_same(_initialised(dict(module.state_dict())), known)
        case.npu.load_state_dict(state)
        module.to("cpu")
        back = _initialised(dict(module.state_dict()))
        torch.testing.assert_close(back, known, rtol=0, atol=0, equal_nan=True)

    return each(_cases(info, dtype, requires_grad=False), compare)


def _module_on_npu(value: Any) -> Any:
    return copy.deepcopy(value).to(NPU) if isinstance(value, torch.nn.Module) else value


def _run_made_on_npu(info: Any, dtype: torch.dtype) -> Tally:
    """A module constructed under device npu has the parameters of one made on the CPU."""

    def compare(made: Any) -> None:
        constructor = made.constructor_input

        def make(device: str) -> Any:
            seed(2)
            arguments = Sample(None, tuple(constructor.args), dict(constructor.kwargs))
            if device == NPU:  # weights and layers that the module is made of
                arguments = arguments.to_npu().map(_module_on_npu)
            with torch.device(device):
                return info.module_cls(*arguments.args, **arguments.kwargs).state_dict()

        with cpu_side():
            expected = dict(make("cpu"))
        lazy = any(
            isinstance(x, torch.nn.parameter.UninitializedParameter) for x in expected.values()
        )
        if lazy:
            raise CpuRefuses("a lazy module has no values yet")
        assert_same(dict(make(NPU)), expected)

    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=False, training=True
    )
    return each(inputs, compare)


def _run_errors(info: Any, dtype: torch.dtype) -> Tally:
    def compare(wrong: Any) -> None:
        made = wrong.module_error_input

        def use(device: str) -> Any:
            constructor = made.constructor_input
            module = info.module_cls(*constructor.args, **constructor.kwargs)
            if wrong.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
                return module
            arguments = _arguments(made)
            if device == NPU:
                arguments = arguments.to_npu()
            return _forward(module.to(device, dtype), arguments)

        at_cpu = behaviour(lambda: use("cpu"))
        if at_cpu.error is None:
            raise CpuRefuses("the CPU lets the call through")
        assert_same_error(behaviour(lambda: use(NPU)).error, at_cpu.error)

    seed(0)
    inputs = info.module_error_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=False, training=True
    )
    return each(inputs, compare)


def _dtypes(info: Any) -> list[torch.dtype]:
    return in_order(info.supported_dtypes("cpu"))


CHECKS = (
    Check("forward", "results, and buffers after the call", _dtypes, _run_forward, BOUND),
    Check("backward", "gradients of inputs and parameters", _dtypes, _run_backward, BOUND),
    Check(
        "double_backward",
        "gradients of the gradients",
        lambda info: _dtypes(info) if info.supports_gradgrad else [],
        _run_second,
        BOUND,
    ),
    Check(
        "moves",
        "to(npu) and back: the same Parameter objects and values",
        _dtypes,
        _run_moves,
        BOUND,
    ),
    Check(
        "made_on_npu",
        "the parameters a constructor draws on npu are those it draws on the CPU",
        _dtypes,
        _run_made_on_npu,
    ),
    Check(
        "errors",
        "type and message of the error for wrong arguments",
        lambda info: _dtypes(info) if info.module_error_inputs_func is not None else [],
        _run_errors,
    ),
)
