"""From an operator's name to the function that says which kernels a call of it launches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch_npu_sim.works.call import Call, Kernel, Operand

__all__ = ["NotExpressibleError", "describe_call", "names", "operator"]

Describer = Callable[[Call], None]
_TABLE: dict[str, Describer] = {}


class NotExpressibleError(ValueError):
    """A call that no kind of Work can say: an unknown operator, or a form of one."""


def operator(*names: str) -> Callable[[Describer], Describer]:
    """Registers a function under the names of an operator."""

    def register(describer: Describer) -> Describer:
        for name in names:
            _TABLE[name] = describer
        return describer

    return register


def names() -> list[str]:
    """Returns the names of all described operators."""
    _load()
    return sorted(_TABLE)


def describe_call(
    name: str, inputs: Sequence[Operand], attributes: Mapping[str, Any]
) -> list[Kernel]:
    """Returns the kernels that a call of the operator launches on the card.

    An operator without a description of its own is tried as one of torch: inputs in order,
    attributes by name.

    Raises:
        NotExpressibleError: nobody has described the operator or this form of it.
    """
    _load()
    call = Call(name, inputs, attributes)
    with _as_not_expressible(name):
        _TABLE.get(name, _TABLE["aten"])(call)
    if not call.kernels:
        raise NotExpressibleError(f"{name}: expected at least one kernel, got none")
    return call.kernels


@contextmanager
def _as_not_expressible(name: str) -> Iterator[None]:
    try:
        yield
    except NotExpressibleError:
        raise
    except (
        ValueError,
        TypeError,
        RuntimeError,
        KeyError,
        IndexError,
        NotImplementedError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotExpressibleError(f"{name}: {reason}") from error


def _load() -> None:
    # Here, not at the top: every module registers itself with this one.
    from torch_npu_sim.works import (  # noqa: F401
        aten,
        attention,
        cache,
        elementwise,
        matmul,
        moe,
        norm,
        quant,
        windows,
    )
