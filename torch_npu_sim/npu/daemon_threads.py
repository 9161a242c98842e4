"""Daemon threads that compute on npu while the interpreter ends.

CPython ends such a thread where it next asks for the interpreter's lock. Inside an operator that is
below torch's C++ frames, which cannot be unwound there: the process would abort. So these threads
are ended before that, between two of their operators.
"""

import ctypes
import threading
import time

from torch_npu_sim import _C

__all__ = ["end_daemon_threads"]

# How long the end of a program waits. A thread in a longer operator goes with the process.
_PATIENCE_S = 1.0


def end_daemon_threads() -> None:
    """Raises SystemExit in every daemon thread that has used npu, and waits for their ends.

    Threads that wait for something else do not notice, and do no harm: after a second the program
    ends without them.
    """
    used = set(_C.threads_that_allocated())
    threads = [
        thread
        for thread in threading.enumerate()
        if thread.daemon
        and thread.native_id in used
        and thread is not threading.current_thread()
        and not isinstance(thread, threading._DummyThread)
    ]
    for thread in threads:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
        )
    end = time.monotonic() + _PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
