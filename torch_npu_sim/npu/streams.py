"""Streams and events. Both are torch's own classes, so torch.accelerator and torch.Stream agree."""

import importlib
from types import TracebackType
from typing import Any, Self

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of
from torch_npu_sim.npu.lifecycle import _lazy_init

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_stream",
    "default_stream",
    "get_sync_debug_mode",
    "set_stream",
    "set_sync_debug_mode",
    "stream",
]


_PS_PER_MS = 1_000_000_000
_SYNC_DEBUG_MODES: dict[int | str, int] = {"default": 0, "warn": 1, "error": 2}


class Stream(torch.Stream):
    """An ordered queue of kernels on one card, taken from the card's pool of the priority.

    Args:
        device: the card; the current one if None.
        priority: 0 is normal, -1 is urgent; values beyond are taken as the nearest of the two.
    """

    def __new__(cls, device: DeviceLike = None, priority: int = 0, **kwargs: Any) -> Self:
        """Takes the next stream of the pool, or names the one that the keywords identify."""
        _lazy_init()
        if kwargs:
            return super().__new__(cls, priority=priority, **kwargs)
        lowest, highest = _C.stream_priority_range()
        index = _existing(_index_of(device), "Stream")
        return super().__new__(
            cls,
            device=torch.device("npu", index),
            priority=min(max(priority, highest), lowest),
        )

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Returns the lowest and the highest priority: (0, -1)."""
        return _C.stream_priority_range()

    @property
    def priority(self) -> int:
        """The priority of the stream."""
        return _C.stream_priority(self.device_index, self.stream_id)

    @property
    def npu_stream(self) -> int:
        """The handle; 0 is the device's default stream."""
        return self.stream_id

    def wait_event(self, event: torch.Event) -> None:
        """Makes work launched on this stream from now on wait for the event."""
        event.wait(self)

    def wait_stream(self, stream: torch.Stream) -> None:
        """Makes work launched here from now on wait for all that `stream` has queued."""
        self.wait_event(stream.record_event())

    def record_event(self, event: torch.Event | None = None) -> torch.Event:
        """Records `event`, or a new one, behind what is queued here, and returns it."""
        if event is None:
            event = Event()
        event.record(self)
        return event

    def set_data_preprocess_stream(self, is_data_preprocess_stream: bool = False) -> None:
        """Accepts what torch_npu's data loaders set; only a real scheduler has use for it."""

    def __repr__(self) -> str:
        """Shows the device and the handle."""
        return f"<torch.npu.Stream device={self.device} npu_stream={self.npu_stream:#x}>"


class Event(torch.Event):
    """A point in a stream's simulated time.

    Args:
        enable_timing: the event can be used with elapsed_time.
        blocking: accepted for compatibility; waiting costs the same simulated time.
        interprocess: accepted; making a handle for another process raises.
    """

    def __new__(
        cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> "Event":
        """Makes an event that is not recorded yet."""
        return super().__new__(
            cls,
            device="npu",
            enable_timing=enable_timing,
            blocking=blocking,
            interprocess=interprocess,
        )

    @property
    def npu_event(self) -> int:
        """The handle; 0 until the event is recorded."""
        return self.event_id

    def record(self, stream: torch.Stream | None = None) -> None:
        """Records the event on `stream`, the current one by default, behind what is queued."""
        _lazy_init()
        super().record(current_stream() if stream is None else stream)

    def wait(self, stream: torch.Stream | None = None) -> None:
        """Makes work launched on `stream` from now on wait for the event."""
        _lazy_init()
        super().wait(current_stream() if stream is None else stream)

    def elapsed_time(self, end_event: torch.Event) -> float:
        """Returns the simulated milliseconds from this event to `end_event`.

        Raises:
            TypeError: `end_event` is no event.
            ValueError: one of the two is not recorded, not reached yet, or has no timing, or they
                are of different devices.
        """
        if not isinstance(end_event, torch.Event):
            raise TypeError(
                "torch.npu.Event.elapsed_time: expected a torch.npu.Event, got "
                f"{type(end_event).__name__}"
            )
        # torch.Event's own method takes no instance of a subclass.
        return _C.elapsed_ps(self.event_id, end_event.event_id) / _PS_PER_MS

    def ipc_handle(self) -> bytes:
        """Would name the event to another process.

        Raises:
            NotImplementedError: each process simulates cards of its own.
        """
        raise NotImplementedError(
            "torch.npu.Event.ipc_handle: expected a card shared by processes, got a simulated one "
            "of this process; synchronise through torch.distributed"
        )

    def __repr__(self) -> str:
        """Shows the handle."""
        state = f"{self.npu_event:#x}" if self.npu_event else "uninitialized"
        return f"<torch.npu.Event {state}>"


def current_stream(device: DeviceLike = None) -> Stream:
    """Returns the calling thread's current stream on the device."""
    _lazy_init()
    index = _existing(_index_of(device), "current_stream")
    return _as_stream(torch._C._accelerator_getStream(index))


def default_stream(device: DeviceLike = None) -> Stream:
    """Returns stream 0 of the device."""
    _lazy_init()
    index = _existing(_index_of(device), "default_stream")
    return Stream(stream_id=0, device_index=index, device_type=_device_type(index))


def set_stream(stream: torch.Stream | None) -> None:
    """Makes `stream`, and its device, current; None changes nothing. Prefer `stream()`."""
    if stream is None:
        return
    _lazy_init()
    torch._C._accelerator_setStream(_checked(stream))


class StreamContext:
    """Context manager that makes a stream and its device current; None changes nothing."""

    def __init__(self, stream: torch.Stream | None) -> None:
        """Takes the stream to select."""
        self.stream = None if stream is None else _checked(stream)
        self._previous: list[torch.Stream] = []

    def __enter__(self) -> torch.Stream | None:
        """Selects the stream."""
        if self.stream is None:
            return None
        here = current_stream()
        there = current_stream(self.stream.device)
        self._previous = [there, here]
        set_stream(self.stream)
        return self.stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restores the stream of both devices, and the current device last."""
        for stream in self._previous:
            set_stream(stream)
        self._previous = []


def stream(stream: torch.Stream | None) -> StreamContext:
    """Returns the context manager in which `stream` is current."""
    return StreamContext(stream)


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Says what happens where the host waits for a stream: in item(), in a copy to the host, ...

    Args:
        debug_mode: "default" (0) nothing, "warn" (1) a warning, "error" (2) a RuntimeError.

    Raises:
        ValueError: `debug_mode` is something else.
    """
    number = _SYNC_DEBUG_MODES.get(debug_mode, debug_mode)
    if number not in _SYNC_DEBUG_MODES.values():
        raise ValueError(
            "torch.npu.set_sync_debug_mode: expected 'default', 'warn' or 'error', got "
            f"{debug_mode!r}"
        )
    _C.set_sync_debug_mode(int(number))


def get_sync_debug_mode() -> int:
    """Returns 0, 1 or 2: what set_sync_debug_mode has set."""
    return _C.sync_debug_mode()


def _checked(stream: torch.Stream) -> torch.Stream:
    """Returns `stream` if it is one of an npu.

    Raises:
        TypeError: it is no stream.
        ValueError: it is another device's.
    """
    if not isinstance(stream, torch.Stream):
        raise TypeError(f"torch.npu: expected a torch.Stream, got {type(stream).__name__}")
    if stream.device.type != "npu":
        raise ValueError(f"torch.npu: expected a stream on npu, got one on {stream.device}")
    return stream


def _as_stream(stream: torch.Stream) -> Stream:
    return Stream(
        stream_id=stream.stream_id,
        device_index=stream.device_index,
        device_type=stream.device_type,
    )


def _device_type(index: int) -> int:
    """Returns torch's number of the device type, which streams carry."""
    return torch._C._accelerator_getStream(index).device_type


def __getattr__(name: str) -> Any:
    """Finds the streams and events of special use, which torch_npu keeps in this module too."""
    if name in ("ExternalEvent", "ExternalStream", "SyncLaunchStream"):
        return getattr(importlib.import_module("torch_npu_sim.npu.special_streams"), name)
    raise AttributeError(f"module 'torch.npu.streams' has no attribute {name!r}")
