"""Marks and ranges of msprof (mstx): here they are user annotations in torch.profiler's traces."""

import functools
import itertools
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch.profiler import record_function

from torch_npu_sim import _C

__all__ = ["StreamRange", "StreamRanges", "annotate", "mstx", "select_domains"]

_Region = AbstractContextManager[Any]

_ids = itertools.count(1)
_open: dict[tuple[str, int], _Region] = {}
_stacks = threading.local()
_included: Collection[str] = ()
_excluded: Collection[str] = ()


def select_domains(included: Collection[str] = (), excluded: Collection[str] = ()) -> None:
    """Annotates only marks and ranges of some domains, or all but some; by default all."""
    global _included, _excluded
    _included, _excluded = included, excluded


def _is_selected(domain: str) -> bool:
    return domain in _included if _included else domain not in _excluded


@dataclass(frozen=True)
class StreamRange:
    """A range that was given a stream, in simulated picoseconds of the host."""

    message: str
    device: int
    stream: int
    begin_ps: int
    end_ps: int


class StreamRanges:
    """Hears of the ranges with a stream that end between `start` and `stop`."""

    def __init__(self) -> None:
        """Makes one that hears of nothing yet."""
        self.heard: list[StreamRange] = []

    def start(self) -> None:
        """Listens from now on."""
        _listeners.append(self)

    def stop(self) -> None:
        """Listens no more."""
        _listeners.remove(self)


_listeners: list[StreamRanges] = []


@contextmanager
def _on_stream(message: str, stream: torch.Stream) -> Iterator[None]:
    begin = _C.host_now_ps()
    with record_function(message):
        yield
    place = stream.device_index, stream.stream_id
    for listener in _listeners:
        listener.heard.append(StreamRange(message, *place, begin, _C.host_now_ps()))


def _begin(message: str, domain: str, stream: torch.Stream | None) -> _Region:
    region: _Region
    if not _is_selected(domain):
        region = nullcontext()
    elif stream is None:
        region = record_function(message)
    else:
        region = _on_stream(message, stream)
    region.__enter__()
    return region


def _are_texts(message: object, domain: object, caller: str) -> bool:
    """Returns whether both are strings and not empty; warns if not, as torch_npu does."""
    for what, text in (("message", message), ("domain", domain)):
        if not (isinstance(text, str) and text):
            warnings.warn(f"mstx.{caller}: expected {what} as a string, got {text!r}", stacklevel=3)
            return False
    return True


def _stack(domain: str) -> list[_Region]:
    if not hasattr(_stacks, "of"):
        _stacks.of = {}
    found: list[_Region] = _stacks.of.setdefault(domain, [])
    return found


class mstx:  # noqa: N801 (torch_npu's name)
    """Marks and ranges on the host's timeline.

    One with a `stream` is also on the card's timeline of torch_npu.profiler, around the
    kernels that the host launched on that stream meanwhile.
    """

    annotate: Any

    @staticmethod
    def mark(message: str, stream: torch.Stream | None = None, domain: str = "default") -> None:
        """Notes one point in time."""
        if _are_texts(message, domain, "mark"):
            _begin(message, domain, stream).__exit__(None, None, None)

    @staticmethod
    def range_start(
        message: str, stream: torch.Stream | None = None, domain: str = "default"
    ) -> int:
        """Begins a range and returns its number, or 0 if `message` or `domain` is no text."""
        if not _are_texts(message, domain, "range_start"):
            return 0
        number = next(_ids)
        _open[domain, number] = _begin(message, domain, stream)
        return number

    @staticmethod
    def range_end(range_id: int, domain: str = "default") -> None:
        """Ends the range that `range_start` numbered; another number does nothing."""
        region = _open.pop((domain, range_id), None)
        if region is not None:
            region.__exit__(None, None, None)

    @staticmethod
    def range_push(
        message: str, stream: torch.Stream | None = None, domain: str = "default"
    ) -> int:
        """Begins a range inside the thread's last one; returns its depth, or -1 for no text."""
        if not _are_texts(message, domain, "range_push"):
            return -1
        stack = _stack(domain)
        stack.append(_begin(message, domain, stream))
        return len(stack) - 1

    @staticmethod
    def range_pop(domain: str = "default") -> int:
        """Ends the thread's last pushed range; returns its depth, or -1 if there is none."""
        stack = _stack(domain)
        if not stack:
            return -1
        stack.pop().__exit__(None, None, None)
        return len(stack)

    @staticmethod
    def mstx_range(
        message: str, stream: torch.Stream | None = None, domain: str = "default"
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorates a function: each call is a range."""
        return annotate(message, stream, domain)


class annotate:  # noqa: N801 (torch_npu's name)
    """A range as a context manager or a decorator; a decorated function's name is the default."""

    def __init__(
        self, message: str = "", stream: torch.Stream | None = None, domain: str = "default"
    ) -> None:
        """Takes what `mstx.range_start` takes."""
        self.message = message
        self.stream = stream
        self.domain = domain
        self.range_id = 0

    def __enter__(self) -> "annotate":
        """Begins the range."""
        self.range_id = mstx.range_start(self.message, self.stream, self.domain)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the range."""
        mstx.range_end(self.range_id, self.domain)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` with a range around each call."""
        message = self.message or function.__name__

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with annotate(message, self.stream, self.domain):
                return function(*args, **kwargs)

        return inside


mstx.annotate = annotate
