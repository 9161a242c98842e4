"""Dynamo traces torch.npu as it traces torch.cuda: in one graph, or with a break at one place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.device_interface import get_interface_for_device
from torch._dynamo.testing import CompileCounter

BACKENDS = ["eager", "aot_eager"]


def properties(x: torch.Tensor) -> torch.Tensor:
    cores = torch.npu.get_device_properties().cube_core_num
    return x + cores + torch.npu.device_count() + int(torch.npu.is_bf16_supported())


def current_device(x: torch.Tensor) -> torch.Tensor:
    return x + torch.npu.current_device()


def stream_of_the_program(x: torch.Tensor) -> torch.Tensor:
    side = torch.npu.Stream()
    side.wait_stream(torch.npu.current_stream())
    with torch.npu.stream(side):
        y = x * 2
    torch.npu.current_stream().wait_stream(side)
    return y + 1


def event(x: torch.Tensor) -> torch.Tensor:
    done = torch.npu.Event()
    y = x * 2
    done.record()
    done.wait()
    torch.npu.synchronize()
    return y + 1


def device_guard(x: torch.Tensor) -> torch.Tensor:
    with torch.npu.device(1):
        y = torch.ones(4, device="npu")
    return y.to("npu:0") + x


def autocast(x: torch.Tensor) -> torch.Tensor:
    with torch.npu.amp.autocast(dtype=torch.bfloat16):
        return x @ x


def is_npu(x: torch.Tensor) -> torch.Tensor:
    return x.npu() + int(x.is_npu)


def seed(x: torch.Tensor) -> torch.Tensor:
    torch.npu.manual_seed(3)
    return torch.rand(4, device="npu") + x


def set_device(x: torch.Tensor) -> torch.Tensor:
    torch.npu.set_device(0)
    return x + 1


def memory(x: torch.Tensor) -> torch.Tensor:
    return x * (torch.npu.memory_allocated() > 0)


IN_ONE_GRAPH = [
    properties,
    current_device,
    stream_of_the_program,
    event,
    device_guard,
    autocast,
    is_npu,
]
WITH_A_BREAK = [seed, set_device, memory]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", IN_ONE_GRAPH)
def test_it_is_traced_in_one_graph(function: Callable[..., Any], backend: str, npu: Any) -> None:
    x = torch.randn(4, 4, device=npu)
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    assert torch.equal(compiled(x), function(x))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("function", WITH_A_BREAK)
def test_it_breaks_the_graph_and_runs(function: Callable[..., Any], npu: Any) -> None:
    x = torch.randn(4, 4, device=npu)
    assert torch.equal(torch.compile(function, backend="eager")(x), function(x))


def test_a_graph_is_reused_for_another_tensor_of_the_card(npu: Any) -> None:
    counter = CompileCounter()
    compiled = torch.compile(lambda x: x * 2, backend=counter)
    compiled(torch.ones(4, device=npu))
    compiled(torch.zeros(4, device=npu))
    assert counter.frame_count == 1


def test_a_graph_is_not_reused_for_another_card() -> None:
    counter = CompileCounter()
    compiled = torch.compile(lambda x: x * 2, backend=counter)
    assert compiled(torch.ones(4, device="npu:0")).device.index == 0
    assert compiled(torch.ones(4, device="npu:1")).device.index == 1
    assert counter.frame_count == 2


def test_the_current_device_is_guarded(npu: Any) -> None:
    compiled = torch.compile(current_device, backend="eager")
    x = torch.zeros(1, device=npu)
    assert compiled(x).item() == 0
    with torch.npu.device(2):
        assert compiled(x).item() == 2


@pytest.mark.parametrize("name", ["npu", "npu:0"])
def test_the_interface_answers_for_the_device(name: str) -> None:
    interface = get_interface_for_device(name)
    assert interface.is_available() and interface.device_count() == torch.npu.device_count()
    assert interface.get_raw_stream(0) == torch.npu.current_stream(0).npu_stream
    assert interface.is_dtype_supported(torch.bfloat16)
    assert interface.get_compute_capability() == torch.npu.get_device_name()


def test_npu_is_made_known_when_torch_was_compiling_before_the_package_came(
    run_python: Any,
) -> None:
    code = (
        "import torch; torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2));"
        "import torch_npu_sim;"
        "from torch._dynamo.device_interface import get_interface_for_device as get;"
        "print(get('npu').device_count() > 0)"
    )
    done = run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.stdout == "True\n", done.stderr


def test_importing_dynamo_does_not_initialise_the_device(run_python: Any) -> None:
    code = "import torch_npu_sim, torch, torch._dynamo; print(torch.npu.is_initialized())"
    done = run_python(code)
    assert done.stdout == "False\n", done.stderr
