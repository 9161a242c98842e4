"""Streams and events with more to them: foreign handles, launches in step, events to reset."""

from typing import Any, Self

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of
from torch_npu_sim.npu.lifecycle import _lazy_init
from torch_npu_sim.npu.streams import Event, Stream, _device_type

__all__ = ["ExternalEvent", "ExternalStream", "SyncLaunchStream"]


class ExternalStream(Stream):
    """A stream named by its handle, as another library passes it on.

    Args:
        stream_ptr: what `Stream.npu_stream` gave.
        device: the card of the stream; the current one if None.

    Raises:
        ValueError: the card has no stream of that handle.
    """

    def __new__(cls, stream_ptr: int, device: DeviceLike = None, **kwargs: Any) -> Self:
        """Names the stream; nothing is made."""
        _lazy_init()
        del kwargs
        index = _existing(_index_of(device), "ExternalStream")
        _C.stream_cores(index, stream_ptr)  # raises when there is no such stream
        return super().__new__(
            cls, stream_id=stream_ptr, device_index=index, device_type=_device_type(index)
        )


class SyncLaunchStream(Stream):
    """A stream on which the host does not run ahead.

    It models torch_npu's stream without a task queue: the host goes on from a launch when the
    stream has taken the kernel up, that is, when everything before it on the stream has ended.

    Args:
        device: the card; the current one if None.
        priority: accepted; the priority is normal.
    """

    def __new__(cls, device: DeviceLike = None, priority: int = 0, **kwargs: Any) -> Self:
        """Takes the next such stream of the card, or names the one that the keywords identify."""
        _lazy_init()
        if kwargs:
            return super().__new__(cls, priority=priority, **kwargs)
        index = _existing(_index_of(device), "SyncLaunchStream")
        return super().__new__(
            cls,
            stream_id=_C.sync_launch_stream(index),
            device_index=index,
            device_type=_device_type(index),
        )

    def __repr__(self) -> str:
        """Shows the device and the handle."""
        return f"<torch.npu.SyncLaunchStream device={self.device} npu_stream={self.npu_stream:#x}>"


class ExternalEvent:
    """An event that can be reset, and then be waited for and recorded anew.

    On the card a captured graph may wait for it before it is recorded. Launched eagerly, such a
    wait would stop the stream for ever, so it raises.
    """

    def __init__(self) -> None:
        """Makes an event that is not recorded."""
        self._event: Event | None = None

    def record(self, stream: torch.Stream | None = None) -> None:
        """Records the event on `stream`, the current one by default, behind what is queued."""
        event = Event()
        event.record(stream)
        self._event = event

    def wait(self, stream: torch.Stream | None = None) -> None:
        """Makes work launched on `stream` from now on wait for the event.

        Raises:
            RuntimeError: the event is not recorded.
        """
        if self._event is None:
            raise RuntimeError(
                "torch.npu.ExternalEvent.wait: expected a recorded event, got one that is not "
                "recorded or was reset: the stream would wait for ever; call record() first"
            )
        self._event.wait(stream)

    def reset(self, stream: torch.Stream | None = None) -> None:
        """Makes the event one that is not recorded; waits that were queued keep their point."""
        del stream
        _lazy_init()
        self._event = None
