"""Graphs: the names of torch_npu exist, but each says when used that there are none yet."""

from typing import Any, NoReturn

__all__ = [
    "NPUGraph",
    "graph",
    "graph_pool_handle",
    "graph_task_group_begin",
    "graph_task_group_end",
    "graph_task_update_begin",
    "graph_task_update_end",
    "is_current_stream_capturing",
    "make_graphed_callables",
    "super_kernel_scope_begin",
    "super_kernel_scope_end",
]


def _missing(name: str, instead: str) -> NoReturn:
    raise NotImplementedError(
        f"torch.npu.{name}: expected a feature that the simulated card has, got one it has not "
        f"yet; {instead}"
    )


class _Missing:
    """A class that cannot be made yet, so that isinstance and imports work."""

    _instead = "launch the operators eagerly"

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Refuses.

        Raises:
            NotImplementedError: always.
        """
        _missing(type(self).__name__, self._instead)


class NPUGraph(_Missing):
    """Captured work that is replayed with one launch."""


class graph(_Missing):  # noqa: N801 (torch's name)
    """Context manager that captures work into an NPUGraph."""


def is_current_stream_capturing() -> bool:
    """Returns False: nothing can be captured yet."""
    return False


def graph_pool_handle() -> NoReturn:
    """Would name a memory pool for graphs to share."""
    _missing("graph_pool_handle", "launch the operators eagerly")


def make_graphed_callables(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would capture the forward and backward of callables."""
    _missing("make_graphed_callables", "call them as they are")


def graph_task_group_begin(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would begin a group of tasks that a graph can update."""
    _missing("graph_task_group_begin", "launch the operators eagerly")


def graph_task_group_end(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would end a group of tasks that a graph can update."""
    _missing("graph_task_group_end", "launch the operators eagerly")


def graph_task_update_begin(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would begin the update of a group of tasks."""
    _missing("graph_task_update_begin", "launch the operators eagerly")


def graph_task_update_end(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would end the update of a group of tasks."""
    _missing("graph_task_update_end", "launch the operators eagerly")


def super_kernel_scope_begin(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would begin a region of a graph whose kernels are launched as one."""
    _missing("super_kernel_scope_begin", "launch the operators eagerly")


def super_kernel_scope_end(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would end a region of a graph whose kernels are launched as one."""
    _missing("super_kernel_scope_end", "launch the operators eagerly")
