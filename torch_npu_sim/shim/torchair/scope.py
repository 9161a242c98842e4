"""Regions of a graph with options. Eager execution has none of them, so they only nest."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch_npu_sim.npu.npugraph_ex.scope import limit_core_num

__all__ = [
    "data_dump",
    "limit_core_num",
    "npu_stream_switch",
    "npu_wait_tensor",
    "op_never_timeout",
    "super_kernel",
]


@contextlib.contextmanager
def _nothing(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    yield


npu_stream_switch = _nothing
super_kernel = _nothing
op_never_timeout = _nothing
data_dump = _nothing


def npu_wait_tensor(tensor: Any, dependency: Any) -> Any:
    """Returns `tensor`; operators run in the order in which they are called."""
    del dependency
    return tensor
