"""Handlers of operators whose host arguments change between replays of a graph."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

__all__ = ["NpuGraphOpHandler", "register_npu_graph_handler"]

# (where it is, which one, key of the update): ("arg", 2, "batch") or ("kwarg", "lens", "lens")
UpdateSpec = tuple[str, int | str, str]


class NpuGraphOpHandler:
    """Base of handlers; all hooks are class methods, and the classes themselves are registered."""

    UPDATE_SPECS: ClassVar[dict[str, list[UpdateSpec]]] = {}

    @classmethod
    def prepare_capture(
        cls, func: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Any, Sequence[Any], dict[str, Any]]:
        """Returns what to call in place of an operator while a graph is captured."""
        return func, args, kwargs

    @classmethod
    def postprocess_result(cls, result: Any, kwargs: dict[str, Any]) -> Any:
        """Returns what the caller of the operator gets."""
        del kwargs
        return result

    @classmethod
    def get_update_specs(cls, op_name: str) -> list[UpdateSpec]:
        """Returns which arguments of an operator an update may change."""
        return cls.UPDATE_SPECS.get(op_name, [])


Handler = TypeVar("Handler", bound=type[NpuGraphOpHandler])
_handlers: dict[str, type[NpuGraphOpHandler]] = {}


def register_npu_graph_handler(op_names: str | Sequence[str]) -> Callable[[Handler], Handler]:
    """Decorates a handler: it serves these operators once graphs are captured.

    There are no graphs yet (`torch.npu.graph` says so), so no handler is called.
    """
    names = [op_names] if isinstance(op_names, str) else op_names

    def register(handler: Handler) -> Handler:
        _handlers.update(dict.fromkeys(names, handler))
        return handler

    return register
