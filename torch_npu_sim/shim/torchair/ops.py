"""Operators for graphs: printing, and events between the streams of a graph."""

from typing import Any

from torchair.scope import npu_wait_tensor
from torchair.unused import accept

__all__ = [
    "npu_create_tagged_event",
    "npu_print",
    "npu_record_tagged_stream",
    "npu_tagged_event_record",
    "npu_tagged_event_wait",
    "npu_wait_tensor",
    "record",
    "wait",
]


def npu_print(*values: Any, summarize_size: int = 3, tensor_name: str | None = None) -> None:
    """Prints tensors."""
    del summarize_size
    print(*([] if tensor_name is None else [tensor_name]), *values)


npu_create_tagged_event = accept
npu_tagged_event_record = accept
npu_tagged_event_wait = accept
npu_record_tagged_stream = accept
record = accept
wait = accept
