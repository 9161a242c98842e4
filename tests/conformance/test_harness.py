"""Each check notices a device that does what it must not: the harness itself can fail.

The wrong device is npu with one operator that misbehaves when it is given npu tensors.
"""

import copy
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("expecttest", reason="torch's test data needs expecttest: [test]")

from tests.conformance import worker  # noqa: E402
from tests.conformance.checks import CHECKS, check_of  # noqa: E402
from tests.conformance.checks.check import SampleFailed  # noqa: E402
from tests.conformance.compare import tensors  # noqa: E402
from tests.conformance.databases import MODULES, OPERATORS, OPTIMIZERS, databases  # noqa: E402
from tests.conformance.items import Item  # noqa: E402
from tests.conformance.results import ROOT  # noqa: E402

Call = Callable[..., Any]


def _is_on_npu(*values: Any) -> bool:
    return any(x.device.type == "npu" for x in tensors(values))


def _wrong(name: str, spoil: Call, variant: str = "op") -> Any:
    """The entry `name` with `spoil(call, *args, **kwargs)` in place of its call on npu."""
    entry = copy.copy(databases()[OPERATORS][name])
    call = getattr(entry, variant)

    def instead(*args: Any, **kwargs: Any) -> Any:
        return spoil(call, *args, **kwargs) if _is_on_npu(args) else call(*args, **kwargs)

    setattr(entry, variant, instead)
    return entry


def _wrong_value(call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return call(x, *args, **kwargs) + 1


def _wrong_stride(call: Call, x: torch.Tensor, *args: Any) -> torch.Tensor:
    y = call(x, *args)
    return y.mT.contiguous().mT if y.dim() > 1 else y


def _wrong_dtype(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x).double()


def _writes_its_input(call: Call, x: torch.Tensor) -> torch.Tensor:
    y = call(x)
    x.detach().zero_()
    return y


def _not_in_place(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x).clone()


def _other_out(call: Call, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return call(x, out=out).add_(1)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return 2 * grad


class _WrongSecondGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return _WrongGradient.apply(grad)


def _wrong_gradient(call: Call, x: torch.Tensor) -> torch.Tensor:
    return _WrongGradient.apply(call(x))


def _wrong_second_gradient(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(_WrongSecondGradient.apply(x))


def _wrong_for_gaps(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x) if x.is_contiguous() else call(x) + 1


def _other_message(call: Call, *args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("something else")


def _copies_instead_of_viewing(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x).clone()


def _counts_a_write(call: Call, x: torch.Tensor) -> torch.Tensor:
    torch.autograd.graph.increment_version(x)
    return call(x)


def _other_than_its_fake(call: Call, x: torch.Tensor, *args: Any) -> torch.Tensor:
    fake = isinstance(x, torch._subclasses.FakeTensor)
    return call(x, *args) if fake else _wrong_stride(call, x, *args)


def _wrong_under_vmap(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x) + 1 if torch._C._functorch.is_batchedtensor(x) else call(x)


def _wrong_when_compiled(call: Call, x: torch.Tensor) -> torch.Tensor:
    return call(x) + 1 if torch.compiler.is_compiling() else call(x)


WRONG = {
    "forward: values": ("forward", "exp", _wrong_value, "op"),
    "forward: strides": ("forward", "tril", _wrong_stride, "op"),
    "forward: dtype": ("forward", "exp", _wrong_dtype, "op"),
    "forward: inputs": ("forward", "exp", _writes_its_input, "op"),
    "in_place": ("in_place", "exp", _not_in_place, "inplace_variant"),
    "out": ("out", "exp", _other_out, "op"),
    "backward": ("backward", "exp", _wrong_gradient, "op"),
    "double_backward": ("double_backward", "exp", _wrong_second_gradient, "op"),
    "noncontiguous": ("noncontiguous", "exp", _wrong_for_gaps, "op"),
    "errors": ("errors", "gather", _other_message, "op"),
    "aliases: views": ("aliases", "t", _copies_instead_of_viewing, "op"),
    "aliases: versions": ("aliases", "exp", _counts_a_write, "op"),
    "meta": ("meta", "tril", _other_than_its_fake, "op"),
    "vmap": ("vmap", "exp", _wrong_under_vmap, "op"),
    "compile": ("compile", "exp", _wrong_when_compiled, "op"),
}


def _run(check: str, entry: Any, database: str = OPERATORS) -> None:
    found = next(one for one in CHECKS[database] if one.name == check)
    found.run(entry, None if check == "errors" and database == OPERATORS else torch.float32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check,name,spoil,variant", WRONG.values(), ids=WRONG.keys())
def test_a_check_notices_a_wrong_operator(check, name, spoil, variant) -> None:
    only_out = spoil is _other_out

    def spoiled(call: Call, *args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs) if only_out and not kwargs else spoil(call, *args, **kwargs)

    with pytest.raises(SampleFailed):
        _run(check, _wrong(name, spoiled, variant))


def test_every_check_of_operators_has_a_wrong_operator() -> None:
    assert {check for check, *_ in WRONG.values()} == {one.name for one in CHECKS[OPERATORS]}


class _WrongLinear(torch.nn.Linear):
    """On npu: other results, other gradients, other objects, other draws, other errors."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.weight.device.type == "npu":
            with torch.no_grad():
                self.weight.add_(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "npu":
            return super().forward(x)
        return _WrongGradient.apply(super().forward(x) + 1)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.weight = torch.nn.Parameter(self.weight.detach().clone())
        return super()._apply(fn, recurse)


@pytest.mark.parametrize(
    "check", ["forward", "backward", "double_backward", "moves", "made_on_npu"]
)
def test_a_check_notices_a_wrong_module(check) -> None:
    entry = copy.copy(databases()[MODULES]["nn.Linear"])
    entry.module_cls = _WrongLinear
    with pytest.raises(SampleFailed):
        _run(check, entry, MODULES)


class _WrongSGD(torch.optim.SGD):
    """On npu: steps in the other direction, and takes a wrong learning rate."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        params = list(params)
        super().__init__(params, **kwargs)
        if params[0].device.type == "npu":
            self.param_groups[0]["lr"] = -kwargs.get("lr", 1e-3)


@pytest.mark.parametrize("check", ["steps", "sparse", "schedulers"])
def test_a_check_notices_a_wrong_optimizer(check) -> None:
    entry = copy.copy(databases()[OPTIMIZERS]["SGD"])
    entry.optim_cls = _WrongSGD
    with pytest.raises(SampleFailed):
        _run(check, entry, OPTIMIZERS)


def test_the_optimizer_check_notices_that_npu_does_not_choose_foreach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sgd = sys.modules[torch.optim.SGD.__module__]
    monkeypatch.setattr(sgd, "_default_to_fused_or_foreach", lambda *_, **__: (False, False))
    item = Item(OPTIMIZERS, "SGD", "steps", "bfloat16")
    with pytest.raises(SampleFailed, match="foreach left to npu"):
        check_of(item).run(databases()[OPTIMIZERS]["SGD"], torch.bfloat16)


ITEM = Item(OPERATORS, "exp", "forward", "float32")


def test_memory_that_an_item_leaves_on_the_card_fails_it(monkeypatch) -> None:
    kept = []

    def leaks(entry: Any, dtype: torch.dtype) -> Any:
        kept.append(torch.ones(1000, device="npu:0"))
        return check_of(ITEM).run(entry, dtype)

    monkeypatch.setattr(worker, "check_of", lambda item: SimpleNamespace(run=leaks))
    result = worker.run_item(ITEM)
    assert result.result == "failed"
    assert "still allocated" in result.message


CRASHES = """
import os, signal, time
from types import SimpleNamespace
from tests.conformance import worker
from tests.conformance.items import Item
from tests.conformance.pool import run_all
from tests.conformance.checks.check import Tally

def item(name):
    return Item("op_db", name, "forward", "float32")

actions = {
    "exp": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "sin": lambda: time.sleep(60),
    "cos": lambda: None,
}

def run(name):
    actions[name]()
    return Tally(compared=1)

worker.check_of = lambda item: SimpleNamespace(run=lambda entry, dtype: run(item.name))
for result in run_all([item(name) for name in actions], jobs=1, timeout_s=5):
    print(result.item.name, result.result, result.message)
"""


def test_a_crash_and_a_hang_fail_their_items_and_not_the_run(run_python) -> None:
    told = run_python(CRASHES, PYTHONPATH=str(ROOT))
    assert told.stdout.splitlines() == [
        "exp failed the process ended with SIGSEGV",
        "sin failed no result within 5 s; the process was ended",
        "cos passed ",
    ], told.stderr
