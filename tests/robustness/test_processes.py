"""Worker processes: forks, spawns, fork servers, loaders; children that die; shared tensors."""

import pytest
import torch
import torch.multiprocessing as mp

REFUSED = (
    "Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, "
    "you must use the 'spawn' start method"
)


@pytest.fixture
def run_main(tmp_path, run_python):
    """Runs a program as a file of its own, which spawned children can import again."""

    def run(code: str, **variables: str):
        script = tmp_path / "program.py"
        script.write_text(code)
        return run_python(
            f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", **variables
        )

    return run


LOADER = """
import torch
from torch.utils.data import DataLoader, Dataset
class Cards(Dataset):
    def __init__(self): self.x = torch.arange(8.0, device="npu")
    def __len__(self): return 8
    def __getitem__(self, i): return {item}
class Host(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.full((4,), float(i))
if __name__ == "__main__":
    used = torch.ones(2, device="npu")
    {use}
"""


@pytest.mark.parametrize("item", ["self.x[i].cpu()", "torch.ones(2, device='npu')"])
def test_forked_loader_workers_that_use_the_card_are_refused_in_torch_cuda_s_words(run_main, item):
    use = (
        "\n    try: list(DataLoader(Cards(), batch_size=2, num_workers=2))\n"
        "    except RuntimeError as error: print(error)"
        "\n    print((used + 1).tolist())"
    )
    run = run_main(LOADER.format(item=item, use=use))
    assert REFUSED in run.stdout and run.returncode == 0, run.stderr
    assert run.stdout.endswith("[2.0, 2.0]\n")


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_loader_workers_with_data_of_the_host_feed_the_card(run_main, method):
    use = (
        f"loader = DataLoader(Host(), batch_size=2, num_workers=1, pin_memory=True,"
        f" multiprocessing_context={method!r}, persistent_workers=True)\n"
        "    for _ in range(2): print(sum(b.npu(non_blocking=True).sum() for b in loader).item())"
    )
    run = run_main(LOADER.format(item="None", use=use))
    assert (run.stdout, run.returncode) == ("112.0\n112.0\n", 0), run.stderr


def test_spawned_loader_workers_may_use_cards_of_their_own_and_send_host_tensors(run_main):
    code = LOADER.replace('self.x = torch.arange(8.0, device="npu")', "pass")
    use = (
        "loader = DataLoader(Cards(), num_workers=1, multiprocessing_context='spawn')\n"
        "    print(sum(batch.sum() for batch in loader).item())"
    )
    run = run_main(code.format(item="(torch.ones(3, device='npu') * i).cpu()", use=use))
    assert (run.stdout, run.returncode) == ("84.0\n", 0), run.stderr


SPAWN = """
import os, signal, sys, torch
import torch.multiprocessing as mp
def child(rank, *given):
    {body}
if __name__ == "__main__":
    held = torch.ones(1 << 20, device="npu")
    try:
        {start}
    except Exception as error:
        print(type(error).__name__, str(error).replace(chr(10), " "))
    print(held.sum().item())
"""


def test_children_of_a_fork_server_have_cards_of_their_own(run_main):
    body = (
        "x = torch.ones(4, device=f'npu:{rank}', requires_grad=True); (x * x).sum().backward(); "
        "assert x.grad.sum().item() == 8; assert torch.npu.memory_allocated(7) == 0; "
        "print('right', flush=True)"
    )
    start = "mp.start_processes(child, nprocs=2, start_method='forkserver')"
    run = run_main(SPAWN.format(body=body, start=start))
    assert run.stdout == "right\nright\n1048576.0\n", run.stderr


def test_torch_spawn_by_fork_after_use_is_refused_clearly(run_main):
    start = "mp.start_processes(child, nprocs=1, start_method='fork')"
    run = run_main(SPAWN.format(body="torch.ones(1, device='npu')", start=start))
    assert "ProcessRaisedException" in run.stdout and REFUSED in run.stdout
    assert run.stdout.endswith("1048576.0\n") and run.returncode == 0, run.stderr


def test_children_that_die_are_reported_and_the_parent_goes_on(run_main):
    # One process after the other: each start of a child costs an import of torch.
    body = (
        "x = torch.ones(9, device='npu'); "
        "given[0] == 'kill' and os.kill(os.getpid(), signal.SIGKILL); "
        "torch.linalg.cholesky(-torch.eye(2, device='npu'))"
    )
    start = (
        "\n        for way in ('kill', 'raise'):\n"
        "            try: mp.spawn(child, args=(way,))\n"
        "            except mp.ProcessExitedException as e: print('exited', e.signal_name)\n"
        "            except mp.ProcessRaisedException as e: print('LinAlgError' in str(e))"
    )
    run = run_main(SPAWN.format(body=body, start=start))
    assert run.stdout == "exited SIGKILL\nTrue\n1048576.0\n", run.stderr
    assert run.returncode == 0


def test_a_tensor_of_the_card_as_argument_of_a_child_is_refused_in_the_parent(run_main):
    run = run_main(SPAWN.format(body="pass", start="mp.spawn(child, args=(held,), nprocs=1)"))
    assert run.stdout.startswith("RuntimeError") and "1048576.0\n" in run.stdout, run.stderr


@pytest.mark.parametrize("what", ["tensor", "leaf", "parameter", "storage", "view", "event"])
def test_what_lies_on_a_card_cannot_go_to_another_process(what):
    x = torch.ones(4, device="npu")
    things = {
        "tensor": x,
        "leaf": x.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(x),
        "storage": x.untyped_storage(),
        "view": x[1:],
        "event": torch.npu.Event(),
    }
    queue = mp.get_context("spawn").SimpleQueue()
    with pytest.raises((RuntimeError, NotImplementedError, TypeError, ValueError)):
        queue.put(things[what])
    queue.put(x.cpu())
    assert queue.get().tolist() == [1.0] * 4


@pytest.mark.parametrize("share", ["share_memory_", "is_shared"])
def test_a_tensor_of_the_card_counts_as_shared_or_is_refused(share):
    x = torch.ones(4, device="npu")
    try:
        result = getattr(x, share)()
    except (RuntimeError, NotImplementedError) as error:
        assert "npu" in str(error).lower() or "cpu" in str(error).lower()
    else:
        assert result is True or result is x or result is False
    assert (x + 1).tolist() == [2.0] * 4


def test_a_module_on_the_card_survives_share_memory():
    model = torch.nn.Linear(2, 2).npu()
    try:
        model.share_memory()
    except (RuntimeError, NotImplementedError) as error:
        assert "npu" in str(error).lower() or "cpu" in str(error).lower()
    assert model(torch.ones(1, 2, device="npu")).shape == (1, 2)


def test_a_grandchild_of_a_process_that_used_the_card_is_refused_too(run_python):
    run = run_python(
        "import os, torch, torch_npu_sim\n"
        "x = torch.ones(1, device='npu')\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        try: x + 1\n"
        "        except RuntimeError as error: print(error, flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait(); os._exit(0)\n"
        "os.wait(); print((x + 1).item())"
    )
    assert run.stdout == f"{REFUSED}\n2.0\n", run.stderr


@pytest.mark.xfail(
    reason="one child in some hundred hung on a busy machine; which lock it met is not known yet"
)
def test_a_child_forked_while_threads_compute_is_refused_and_does_not_hang(run_python):
    run = run_python(
        "import os, threading, torch, torch_npu_sim\n"
        "stop = threading.Event()\n"
        "def work(i):\n"
        "    x = torch.ones(64, device=f'npu:{i}')\n"
        "    names = [n for n in dir(torch.Tensor) if n.endswith('_') and n[0] != '_']\n"
        "    while not stop.is_set():\n"
        "        (x + 1).sum().item(); torch.nn.functional.dropout(x); x.exp().sort()\n"
        "threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]\n"
        "for t in threads: t.start()\n"
        "for _ in range(30):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try: torch.ones(1, device='npu')\n"
        "        except RuntimeError: pass\n"
        "        else: os._exit(9)\n"
        "        try: torch.ones(2).pin_memory()\n"
        "        except RuntimeError: pass\n"
        "        assert torch.ones(3).add(1).sum().item() == 6\n"
        "        os._exit(0)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "stop.set()\n"
        "for t in threads: t.join()\n"
        "print('done')"
    )
    assert (run.stdout, run.returncode) == ("done\n", 0), run.stderr
