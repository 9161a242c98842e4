"""Signals: Ctrl-C arrives after the operator that runs and leaves nothing broken."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest
import torch

# A shell that starts its jobs in the background makes them ignore Ctrl-C; these programs take it.
PROGRAM = """
import gc, signal, torch, torch_npu_sim
signal.signal(signal.SIGINT, signal.default_int_handler)
from torch.utils.data import DataLoader
from torch_npu_sim import _C
torch.set_num_threads(2)
x = torch.randn(256, 256, device="npu", requires_grad=True)
host = torch.ones(300, 300)
loader = DataLoader(host, batch_size=8, pin_memory=True)
workers = DataLoader(host, batch_size=8, num_workers=2)
model = torch.nn.Linear(256, 4).npu()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x.detach() + 1
{loops}
def check(held):
    x.grad = None
    optimizer.zero_grad()
    gc.collect()
    assert _C.live_blocks() == held, (_C.live_blocks(), held)
    assert torch.empty(64).device.type == "cpu" and _C.live_blocks() == held
    y = torch.ones(4, 4, device="npu", requires_grad=True)
    (y @ y).sum().backward()
    torch.npu.synchronize()
    assert torch.equal(y.grad.cpu(), torch.full((4, 4), 8.0))
"""
EACH = """
def {name}():
    def body():  # of its own, so that what it holds goes with the interrupt
        {body}
    held = _C.live_blocks()
    try:
        print("ready", flush=True)
        while True: body()
    except KeyboardInterrupt:
        pass
    check(held)
    print("still right", flush=True)
"""
LOOPS = {
    "one_long_operator": "torch.linalg.svd(x.detach().repeat(2, 2))",
    "many_short_operators": "x.detach() + 1",
    "waits": "(x @ x).detach(); torch.npu.synchronize()",
    "downloads": "x.cpu()",
    "uploads": "host.npu()",
    "backward": "x.grad = None; (x @ x).softmax(-1).sum().backward()",
    "hooks": "y = x * 2; y.register_hook(lambda g: g + 1); (y * x).sum().backward(); del y",
    "allocations": "[torch.empty(n, device='npu') for n in range(1, 5000, 7)]",
    "a_loader": "[batch.npu() for batch in loader] and None",
    "a_loader_with_workers": "[batch.npu() for batch in workers] and None",
    "an_optimizer": "model(x.detach()).sum().backward(); optimizer.step()",
    "random_numbers": "torch.nn.functional.dropout(x.detach())",
}


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a program, waits until it has said that it is ready, and ends it in the end."""
    program = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield program
    finally:
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(program.pid, signal.SIGKILL)  # workers too, which hold the pipes open
        program.communicate()


def answer_to_ctrl_c(program: subprocess.Popen[str]) -> str:
    """Sends Ctrl-C until the program says a line, a minute at most, and returns the line.

    Python drops an interrupt that comes while a destructor runs, and a DataLoader's iterator ends
    its workers in one.
    """
    assert program.stdout is not None
    for _ in range(12):
        program.send_signal(signal.SIGINT)
        if select.select([program.stdout], [], [], 5)[0]:
            return program.stdout.readline()
    return ""


def program_of(names: Iterable[str]) -> str:
    """Returns a program that runs each loop until it is interrupted, and checks the card."""
    loops = "".join(EACH.format(name=name, body=LOOPS[name]) for name in names)
    return PROGRAM.format(loops=loops) + "".join(f"{name}()\n" for name in names)


def test_ctrl_c_ends_every_kind_of_loop_and_leaves_the_card_right():
    with running(program_of(LOOPS)) as program:
        assert program.stdout is not None
        for name in LOOPS:
            time.sleep(0.15)
            assert answer_to_ctrl_c(program) == "still right\n", name
            if name != list(LOOPS)[-1]:
                assert program.stdout.readline() == "ready\n"
        output, errors = program.communicate(timeout=60)
        assert (program.returncode, output) == (0, ""), errors


@pytest.mark.parametrize("name", ["one_long_operator", "a_loader_with_workers"])
def test_sigterm_ends_the_process_by_that_signal(name):
    with running(program_of([name])) as program:
        time.sleep(0.1)
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=60) == -signal.SIGTERM


def test_a_handler_of_the_program_runs_after_the_operator_and_may_use_the_card():
    ours = threading.main_thread().native_id == os.getpid()
    assert ours, "signals come to the main thread"
    seen = []

    def handle(*_):
        seen.append(torch.ones(4, device="npu").sum().item())

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        x = torch.ones(64, 64, device="npu")
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            x = x @ x / 64
        assert seen == [4.0] * 20 and torch.equal(x.cpu(), torch.ones(64, 64))
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_an_exception_from_a_handler_inside_an_operator_comes_after_it():
    class Late(Exception):
        pass

    def handle(*_):
        raise Late

    previous = signal.signal(signal.SIGALRM, handle)
    x = torch.zeros(1, device="npu")
    count = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Late):
            while True:
                x.add_(1)
                count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert x.item() in (count, count + 1)
