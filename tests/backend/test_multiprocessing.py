"""Processes: spawned children have cards of their own; forks are told apart."""

import pytest
import torch


def test_spawned_processes_use_their_own_cards(tmp_path, run_python):
    script = tmp_path / "spawn.py"
    script.write_text(
        "import torch\n"
        "import torch.multiprocessing as mp\n"
        "def child(rank, queue):\n"
        "    free, total = torch.npu.mem_get_info()\n"
        "    x = torch.arange(4.0, device=f'npu:{rank}', requires_grad=True)\n"
        "    (x * x).sum().backward()\n"
        "    queue.put((rank, free == total, x.grad.cpu().tolist()))\n"
        "if __name__ == '__main__':\n"
        "    held = torch.ones(1 << 24, device='npu')\n"
        "    queue = mp.get_context('spawn').SimpleQueue()\n"
        "    mp.spawn(child, args=(queue,), nprocs=2)\n"
        "    print(sorted(queue.get() for _ in range(2)))\n"
    )
    run = run_python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    grads = [0.0, 2.0, 4.0, 6.0]
    assert run.stdout == f"{[(0, True, grads), (1, True, grads)]}\n", run.stderr


FORK = """
import os, torch, torch_npu_sim
{before}
child = os.fork()
if child == 0:
    try:
        {inside}
        print("worked")
    except RuntimeError as error:
        print(type(error).__name__, error)
    os.sys.stdout.flush()
    os._exit(0)
print("exit code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
{after}
"""
USES = {
    "create": "torch.ones(1, device='npu')",
    "operator": "x + 1",
    "in-place": "x.add_(1)",
    "upload": "torch.ones(2).npu()",
    "download": "x.cpu()",
    "item": "x[0].item()",
    "print": "repr(x)",
    "backward": "(w * 2).sum().backward()",
    "synchronize": "torch.npu.synchronize()",
    "stream": "torch.npu.Stream()",
}


@pytest.mark.parametrize("use", USES)
def test_use_in_a_child_forked_after_use_is_refused_as_torch_cuda_does(run_python, use):
    before = "x = torch.ones(2, device='npu'); w = torch.ones(2, device='npu', requires_grad=True)"
    run = run_python(FORK.format(before=before, inside=USES[use], after="print(x.tolist())"))
    assert run.stdout.splitlines() == [
        "RuntimeError Cannot re-initialize NPU in forked subprocess. To use NPU with "
        "multiprocessing, you must use the 'spawn' start method",
        "exit code 0",
        "[1.0, 1.0]",
    ], run.stderr


@pytest.mark.parametrize(
    "harmless", ["del x", "torch.npu.device_count()", "torch.ones(3) + 1", "x.shape, x.device"]
)
def test_what_needs_no_card_works_in_such_a_child(run_python, harmless):
    before = "x = torch.ones(2, device='npu')"
    run = run_python(FORK.format(before=before, inside=harmless, after="del x"))
    assert run.stdout.splitlines() == ["worked", "exit code 0"], run.stderr


def test_a_child_forked_before_use_may_use_the_card(run_python):
    inside = "assert (torch.ones(2, device='npu') * 2).sum().item() == 4"
    after = "print(torch.ones(2, device='npu').sum().item())"
    run = run_python(FORK.format(before="", inside=inside, after=after))
    assert run.stdout.splitlines() == ["worked", "exit code 0", "2.0"], run.stderr


def test_a_child_forked_while_threads_pin_memory_does_not_hang(run_python):
    # The first call fills static tables; a fork in the middle of that leaves the child waiting.
    before = (
        "import threading\n"
        "torch.ones(4).pin_memory().is_pinned()\n"
        "def pin():\n"
        "    while not stop: torch.ones(64).pin_memory()\n"
        "stop = []\n"
        "thread = threading.Thread(target=pin); thread.start()"
    )
    inside = "torch.ones(4).pin_memory().is_pinned()"
    run = run_python(FORK.format(before=before, inside=inside, after="stop.append(1)"))
    assert run.stdout.splitlines() == ["worked", "exit code 0"], run.stderr


def test_a_tensor_of_the_card_cannot_go_through_a_queue():
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    with pytest.raises(RuntimeError, match="only available on CPU"):
        queue.put(torch.ones(2, device="npu"))
