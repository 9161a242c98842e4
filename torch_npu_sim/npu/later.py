"""Names of torch_npu that exist here but do nothing yet: each says so when used."""

from typing import Any, NoReturn

__all__ = [
    "ExternalEvent",
    "ExternalStream",
    "MemPool",
    "NPUGraph",
    "NPUPluggableAllocator",
    "SyncLaunchStream",
    "change_current_allocator",
    "check_uce_in_memory",
    "graph",
    "graph_pool_handle",
    "graph_task_group_begin",
    "graph_task_group_end",
    "graph_task_update_begin",
    "graph_task_update_end",
    "is_current_stream_capturing",
    "make_graphed_callables",
    "reset_stream_limit",
    "restart_device",
    "set_device_limit",
    "set_stream_limit",
    "stop_device",
    "stress_detect",
    "use_mem_pool",
    "utilization",
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


class MemPool(_Missing):
    """A private pool of the caching allocator."""

    _instead = "allocate from the default pool"


class NPUPluggableAllocator(_Missing):
    """An allocator from a shared library."""

    _instead = "use the built-in caching allocator"


class ExternalStream(_Missing):
    """A stream made by another library."""

    _instead = "make a torch.npu.Stream"


class ExternalEvent(_Missing):
    """An event that graph updates wait for."""

    _instead = "make a torch.npu.Event"


class SyncLaunchStream(_Missing):
    """A stream whose launches bypass the task queue."""

    _instead = "make a torch.npu.Stream"


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


def use_mem_pool(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would allocate from a private pool."""
    _missing("use_mem_pool", "allocate from the default pool")


def change_current_allocator(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would replace the caching allocator."""
    _missing("change_current_allocator", "use the built-in caching allocator")


def set_device_limit(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would limit the cores that kernels of a card may use."""
    _missing("set_device_limit", "describe a chip with fewer cores: torch_npu_sim.set_chip")


def set_stream_limit(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would limit the cores that kernels of a stream may use."""
    _missing("set_stream_limit", "describe a chip with fewer cores: torch_npu_sim.set_chip")


def reset_stream_limit(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would lift the limit of a stream."""
    _missing("reset_stream_limit", "no limit can be set")


def utilization(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would return the percentage of time that the cores were busy."""
    _missing("utilization", "torch_npu_sim.trace() gives the busy time of each pipe")


def stop_device(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would abort what runs on a card."""
    _missing("stop_device", "a simulated card cannot hang")


def restart_device(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would bring a stopped card back."""
    _missing("restart_device", "a simulated card cannot stop")


def check_uce_in_memory(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would look for uncorrectable memory errors."""
    _missing("check_uce_in_memory", "simulated memory has none")


def stress_detect(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Would test the hardware."""
    _missing("stress_detect", "there is no hardware to test")
