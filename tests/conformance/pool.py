"""Worker processes, each under a time-out: a hang or a crash fails its item, not the run."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from tests.conformance import worker
from tests.conformance.items import Item, Result

# Workers are forked from this process, which has torch and its data loaded but no device in use.
CONTEXT = multiprocessing.get_context("fork")


class Worker:
    """A process that runs one item at a time."""

    def __init__(self) -> None:
        """Starts the process."""
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=worker.serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.item: Item | None = None
        self.deadline = 0.0

    def give(self, item: Item, timeout_s: float) -> None:
        """Hands over an item."""
        self.item, self.deadline = item, time.monotonic() + timeout_s
        self.pipe.send(item)

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_all(items: Sequence[Item], jobs: int, timeout_s: float) -> Iterator[Result]:
    """The result of each item, as they come in."""
    waiting = deque(items)
    workers = [Worker() for _ in range(min(jobs, len(items)))]
    try:
        for one in workers:
            one.give(waiting.popleft(), timeout_s)
        while any(one.item is not None for one in workers):
            for number, one in enumerate(workers):
                result = _result_of(one, timeout_s) if one.item is not None else None
                if result is None:
                    continue
                yield result
                if not one.process.is_alive() or one.deadline < 0:
                    one.end()
                    workers[number] = one = Worker()
                one.item = None
                if waiting:
                    one.give(waiting.popleft(), timeout_s)
            _sleep_until_news(workers)
    finally:
        for one in workers:
            one.end()


def _sleep_until_news(workers: Sequence[Worker]) -> None:
    busy: list[Connection] = [one.pipe for one in workers if one.item is not None]
    if busy:
        wait(busy, timeout=0.5)


def _result_of(one: Worker, timeout_s: float) -> Result | None:
    """The worker's result if there is one; a negative deadline marks a worker to be replaced."""
    assert one.item is not None
    try:
        if one.pipe.poll():
            result: Result = one.pipe.recv()
            return result
    except (EOFError, ConnectionError):
        return _lost(one)
    if time.monotonic() > one.deadline:
        one.deadline = -1
        message = f"no result within {timeout_s:g} s; the process was ended"
        return Result(one.item, "failed", seconds=timeout_s, message=message)
    return None


def _lost(one: Worker) -> Result:
    assert one.item is not None
    one.process.join()
    one.deadline = -1
    code = one.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Result(one.item, "failed", message=f"the process ended with {how}")
