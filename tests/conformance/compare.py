"""What it means that npu did the same as the CPU."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves

UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
}


def tensors(tree: Any) -> list[torch.Tensor]:
    """The tensors of a tree, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Different(AssertionError):
    """npu did something else than the CPU."""


def expect(condition: bool, message: str) -> None:
    """Raises Different with `message` unless the condition holds."""
    if not condition:
        raise Different(message)


def expect_equal(what: str, npu: Any, cpu: Any) -> None:
    """Raises Different unless both are equal; two NaN are."""
    same = npu == cpu or (npu != npu and cpu != cpu)
    if not same:
        raise Different(f"{what}: expected {cpu!r} as on the CPU, got {npu!r}")


def has_values(op: Any) -> bool:
    """Whether the results of an operator may be compared: not if they are uninitialised."""
    return op.name not in UNINITIALISED


def geometry(x: torch.Tensor) -> dict[str, Any]:
    """All about a tensor that does not depend on its values or its device."""
    facts: dict[str, Any] = {
        "dtype": x.dtype,
        "shape": tuple(x.shape),
        "layout": x.layout,
        "requires_grad": x.requires_grad,
    }
    if x.layout == torch.strided and not x.is_nested:
        facts |= {
            "strides": x.stride(),
            "offset": x.storage_offset(),
            "conjugate bit": x.is_conj(),
            "negative bit": x.is_neg(),
        }
    return facts


def assert_same_tensor(
    npu: torch.Tensor, cpu: torch.Tensor, *, values: bool = True, **tolerance: float
) -> None:
    """Same geometry and, unless `values` is False, the same values within torch's tolerance."""
    expected = geometry(cpu)
    for name, got in geometry(npu).items():
        expect_equal(name, got, expected[name])
    if values:
        assert_close(npu.detach().cpu(), cpu.detach(), **tolerance)


def assert_close(got: torch.Tensor, expected: torch.Tensor, **tolerance: float) -> None:
    """Equal within `rtol` and `atol`, torch's for the dtype if not given; NaN equals NaN."""
    comparable = expected.layout == torch.strided and expected.dtype != torch.complex32
    if comparable and torch.equal(got, expected):  # nearly always, and a hundred times as fast
        return
    torch.testing.assert_close(got, expected, equal_nan=True, check_stride=False, **tolerance)


def assert_same_inputs(npu: Any, cpu: Any) -> None:
    """The tensors among the arguments of a call, after it."""
    for one, other in zip(tensors(npu), tensors(cpu), strict=True):
        assert_same_tensor(one, other)


def assert_same(npu: Any, cpu: Any, *, values: bool = True, **tolerance: float) -> None:
    """The same tree: tensors as in assert_same_tensor, other leaves equal."""
    got, got_tree = tree_flatten(npu)
    expected, expected_tree = tree_flatten(cpu)
    expect_equal("structure of the result", got_tree, expected_tree)
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, torch.Tensor):
            expect(isinstance(one, torch.Tensor), "expected a tensor, got something else")
            expect_equal("device of a result", one.device.type, _on_npu(other.device.type))
            assert_same_tensor(one, other, values=values, **tolerance)
        elif values:
            expect_equal("a result", *(_comparable(leaf) for leaf in (one, other)))


def _on_npu(device: str) -> str:
    return "npu" if device == "cpu" else device


def _comparable(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return "the device"
    return leaf


@dataclass
class Behaviour:
    """What a call did: its result, or what it raised."""

    result: Any = None
    error: Exception | None = None


def behaviour(function: Callable[[], Any]) -> Behaviour:
    """Calls and tells what happened."""
    try:
        return Behaviour(result=function())
    except Exception as error:
        return Behaviour(error=error)


def message_of(error: Exception) -> str:
    """The message with every device named alike."""
    text = str(error).split("\nException raised from")[0]
    text = re.sub(r"\bnpu(:\d+)?\b", "cpu", text, flags=re.IGNORECASE)
    text = re.sub(r"\bprivateuse(one|1)\b", "cpu", text, flags=re.IGNORECASE)
    # A printed tensor, and the name of a tensor's type.
    return text.replace(", device='cpu'", "").replace("torch.cpu.", "torch.").strip()


def assert_same_error(npu: Exception | None, cpu: Exception | None) -> None:
    """The same type and, up to the device's name, the same message."""
    if npu is None or cpu is None:
        expect(npu is cpu, f"expected {_told(cpu)} as on the CPU, got {_told(npu)}")
        return
    expect(
        type(npu) is type(cpu) and message_of(npu) == message_of(cpu),
        f"expected {_told(cpu)} as on the CPU, got {_told(npu)}",
    )


def _told(error: Exception | None) -> str:
    return "no error" if error is None else f"{type(error).__name__}: {message_of(error)[:400]}"
