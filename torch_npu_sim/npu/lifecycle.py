"""Lazy initialisation: the device is untouched until the first call that needs it.

So a process may fork as long as it has not used the device, as with torch.cuda.
"""

import atexit
import functools
import threading
import traceback
from collections.abc import Callable

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.daemon_threads import end_daemon_threads

__all__ = ["default_generators", "init", "is_initialized"]

_initialized = False
_lock = threading.RLock()
_running = threading.local()  # .calls exists while this thread runs the queued calls
# (call, where it was made); seeds are queued apart, since a later seed replaces earlier ones
_queued: list[tuple[Callable[[], None], list[str]]] = []
_queued_seeds: list[tuple[Callable[[], None], list[str]]] = []


def init() -> None:
    """Initialises the device now. Does nothing if that has been done."""
    _lazy_init()


def is_initialized() -> bool:
    """Returns whether this process uses the device."""
    return _initialized and not _is_in_bad_fork()


def _is_in_bad_fork() -> bool:
    """Returns whether this process was forked from one that had used the device."""
    return _C.in_bad_fork()


def _lazy_call(call: Callable[[], None], *, seed: bool = False, seed_all: bool = False) -> None:
    """Runs `call` now if the device is initialised, else when it will be.

    Args:
        call: what to run.
        seed: `call` seeds the current device.
        seed_all: `call` seeds every device, which makes earlier queued seeds void.
    """
    if is_initialized():
        call()
        return
    with _lock:
        where = traceback.format_stack()
        if seed_all:
            _queued_seeds.clear()
        (_queued_seeds if seed or seed_all else _queued).append((call, where))


def _lazy_init() -> None:
    """Initialises the device on the first call.

    Raises:
        RuntimeError: in a process forked from one that had used the device.
    """
    global _initialized
    if is_initialized() or hasattr(_running, "calls"):
        return
    with _lock:
        if is_initialized():
            return
        if _is_in_bad_fork():
            raise RuntimeError(
                "Cannot re-initialize NPU in forked subprocess. To use NPU with "
                "multiprocessing, you must use the 'spawn' start method"
            )
        _C.mark_used()
        _C.watch_forks()
        atexit.register(end_daemon_threads)
        _running.calls = True
        try:
            _run_queued()
        finally:
            del _running.calls
        _initialized = True


def _run_queued() -> None:
    """Runs what was asked for before the device was initialised."""
    while _queued or _queued_seeds:
        call, where = (_queued or _queued_seeds).pop(0)
        try:
            call()
        except Exception as error:
            raise RuntimeError(
                f"NPU call failed lazily at initialization with error: {error}\n\n"
                f"NPU call was originally invoked at:\n\n{''.join(where)}"
            ) from error


@functools.cache
def _generators() -> tuple[torch.Generator, ...]:
    return tuple(_C.default_generator(index) for index in range(_C.device_count()))


def default_generators() -> tuple[torch.Generator, ...]:
    """Returns the default generator of every device."""
    _lazy_init()
    return _generators()
