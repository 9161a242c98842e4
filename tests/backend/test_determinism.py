"""Two runs of one program give the same simulated picoseconds."""

import pytest

DEEPSEEK = """
import torch, torch_npu_sim
from torch_npu_sim.testing.tiny_models import make_inputs, make_model
model = make_model("deepseek_v4").to("npu")
tokens = make_inputs("deepseek_v4")["input_ids"].npu()
with torch_npu_sim.trace() as trace:
    model(input_ids=tokens, labels=tokens).loss.backward()
"""
TWO_STREAMS = """
import torch, torch_npu_sim
x = torch.ones(1024, 1024, device="npu")
streams = [torch.npu.Stream(), torch.npu.Stream(priority=-1)]
with torch_npu_sim.trace() as trace:
    for step in range(20):
        with torch.npu.stream(streams[step % 2]):
            x @ x
            x.sum(0)
        if step % 5 == 0:
            streams[0].wait_stream(streams[1])
    torch.npu.synchronize()
"""
DEVICES = """
import torch, torch_npu_sim
w = [torch.randn(64, 64, device=f"npu:{i}", requires_grad=True) for i in range(2)]
x = torch.randn(64, 64, device="npu:0")
with torch_npu_sim.trace() as trace:
    for _ in range(5):
        ((x @ w[0]).relu().to("npu:1") @ w[1]).sum().backward()
    torch.npu.synchronize(1)
"""
BRANCHES = """
import threading, torch, torch_npu_sim
def branch(device):
    w = torch.ones(32, 32, device=device, requires_grad=True)
    y = w
    for _ in range(50): y = torch.tanh(y @ w)
    return y.sum()
def step():
    (branch("npu:0") + branch("npu:1").to("npu:0")).backward()
with torch_npu_sim.trace() as trace:
    step()
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
"""
REPORT = """
for kernel in trace.kernels:
    print(kernel.op, kernel.device, kernel.stream, kernel.start_us, kernel.end_us)
for sample in trace.memory:
    print(sample)
from torch_npu_sim import _C
print(_C.host_now_ps(), torch.npu.memory_stats())
"""


PROGRAMS = {
    "deepseek_v4": DEEPSEEK,
    "two streams": TWO_STREAMS,
    "two devices": DEVICES,
    "branches of backward on two devices, in two threads": BRANCHES,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_runs_give_the_same_times_and_bytes(run_python, name):
    first = run_python(PROGRAMS[name] + REPORT, PYTHONHASHSEED="1")
    second = run_python(PROGRAMS[name] + REPORT, PYTHONHASHSEED="2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("aten::") > 10
    assert first.stdout == second.stdout


def test_times_do_not_depend_on_the_import_s_order(run_python):
    body = TWO_STREAMS + REPORT
    outputs = {
        run_python(body.replace("import torch, torch_npu_sim", imports)).stdout
        for imports in ("import torch, torch_npu_sim", "import torch_npu_sim, torch")
    }
    assert len(outputs) == 1 and "aten::mm" in outputs.pop()
