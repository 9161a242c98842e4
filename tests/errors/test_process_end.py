"""Programs end cleanly, start with clear errors, and survive Ctrl-C."""

import signal
import subprocess
import sys

import pytest

LIVE = """
import threading, torch, torch_npu_sim
x = torch.ones(3, device="npu:1", requires_grad=True)
y = (x * 2).sum()
stream, event = torch.npu.Stream(), torch.npu.Event(enable_timing=True)
event.record(stream)
torch.npu.set_stream(stream)
generator, pinned, storage = torch.Generator("npu"), torch.ones(3).pin_memory(), x.untyped_storage()
{extra}
"""
ENDINGS = {
    "live objects": "",
    "a reference cycle": "class Cycle: pass\ncycle = Cycle(); cycle.me = cycle; cycle.x = x",
    "a global of a module": "torch.kept_by_torch = (x, y, stream, event)",
    "an idle thread": (
        "holds = threading.Event()\n"
        "def wait(x): holds.wait()\n"
        "threading.Thread(target=wait, args=(x.clone(),), daemon=True).start()"
    ),
    "a backward": "y.backward()",
    "queued work": "z = torch.ones(2048, 2048, device='npu'); z @ z",
    "a thread that is joined": (
        "threading.Thread(target=lambda: [torch.ones(4, device='npu').sum() for _ in range(500)])"
        ".start()"
    ),
    "daemon threads that compute": (
        "import time\n"
        "def compute(i):\n"
        "    w = torch.ones(8, device=f'npu:{i}', requires_grad=True)\n"
        "    while True: (w * 2).sum().backward(); w.grad.tolist()\n"
        "for i in range(3): threading.Thread(target=compute, args=(i,), daemon=True).start()\n"
        "time.sleep(0.2)"
    ),
    "a daemon thread that waits after use": (
        "used = threading.Event()\n"
        "def use_and_wait():\n"
        "    x + 1\n"
        "    used.set()\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=use_and_wait, daemon=True).start()\n"
        "used.wait()"
    ),
    "an open trace": "trace = torch_npu_sim.trace(); trace.__enter__()",
    "a destructor that computes": (
        "class Last:\n    def __del__(self): self.x + 1\nlast = Last(); last.x = x"
    ),
    "atexit": "import atexit; atexit.register(lambda: (x + 1).sum().item())",
    "memory history": "torch.npu.memory._record_memory_history(); torch.ones(3, device='npu')",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_with_code_0_and_says_nothing(run_python, ending):
    run = run_python(LIVE.format(extra=ENDINGS[ending]), PYTHONFAULTHANDLER="1")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_an_exception_ends_a_program_with_its_traceback_only(run_python):
    run = run_python(LIVE.format(extra="x + torch.ones(3)"), PYTHONFAULTHANDLER="1")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("RuntimeError: Expected all tensors to be on the")
    assert "Fatal" not in run.stderr


# A shell that starts its jobs in the background makes them ignore Ctrl-C; this program takes it.
INTERRUPTED = """
import signal, torch, torch_npu_sim
signal.signal(signal.SIGINT, signal.default_int_handler)
x = torch.randn(512, 512, device="npu", requires_grad=True)
step = 0
try:
    for step in range(1_000_000):
        (x @ x).softmax(-1).sum().backward()
        if step == 1: print("ready", flush=True)
except KeyboardInterrupt:
    print("interrupted after", step > 0)
before = torch.npu.memory_allocated()
x.grad = None
(x * 2).sum().backward()
torch.npu.synchronize()
print(torch.equal(x.grad.cpu(), torch.full((512, 512), 2.0)))
"""


def test_an_interrupted_program_goes_on():
    program = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(timeout=1)
    program.send_signal(signal.SIGINT)
    try:
        output, errors = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (program.returncode, output, errors) == (0, "interrupted after True\nTrue\n", "")


@pytest.mark.parametrize("value", ["0", "65", "abc", "-1", "1.5", "99999999999999999999"])
def test_a_wrong_number_of_devices_is_told_at_import(run_python, value):
    run = run_python("import torch_npu_sim", NPU_SIM_DEVICES=value)
    assert run.returncode == 1
    assert f"NPU_SIM_DEVICES: expected a whole number from 1 to 64, got '{value}'" in run.stderr


def test_a_wrong_number_of_devices_does_not_crash_programs_of_the_cpu(run_python):
    run = run_python(
        "import torch\n"
        "try: import torch_npu_sim\n"
        "except ValueError: print('told')\n"
        "x = torch.ones(2, requires_grad=True); (x * 2).sum().backward(); print(x.grad.tolist())",
        NPU_SIM_DEVICES="0",
        TORCH_DEVICE_BACKEND_AUTOLOAD="0",
    )
    assert run.stdout == "told\n[2.0, 2.0]\n", run.stderr


@pytest.mark.parametrize("value", ["nope", "missing.yaml"])
def test_a_wrong_chip_is_told_at_import(run_python, value):
    run = run_python("import torch_npu_sim", NPU_SIM_CHIP=value)
    assert run.returncode == 1 and value in run.stderr


@pytest.mark.parametrize(
    "imports",
    [
        "import torch",
        "import torch_npu_sim",
        "import torch, torch_npu_sim",
        "import torch_npu_sim, torch",
        "import numpy, torch_npu_sim, torch.nn",
        "import torch.nn, torch_npu_sim.npu",
    ],
)
def test_the_import_s_order_does_not_matter(run_python, imports):
    code = f"{imports}\nimport torch; print(torch.ones(2).npu().sum().item())"
    autoload = {} if imports == "import torch" else {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    run = run_python(code, **autoload)
    assert (run.stdout, run.stderr) == ("2.0\n", "")
