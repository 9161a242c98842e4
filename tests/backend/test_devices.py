"""Several cards in one process: tensors, copies, guards, autograd."""

import threading

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def device_zero():
    """Leaves device 0 current."""
    yield
    torch.npu.set_device(0)


@pytest.mark.parametrize("index", range(8))
def test_a_tensor_lives_on_the_device_it_was_made_on(index):
    assert torch.arange(3, device=f"npu:{index}").device == torch.device("npu", index)


def test_a_device_copy_keeps_values_and_makes_new_memory():
    source = torch.randn(5, 7, device="npu:3")
    copy = source.to("npu:1")
    assert copy.device == torch.device("npu", 1)
    assert copy.data_ptr() != source.data_ptr()
    assert torch.equal(copy.cpu(), source.cpu())


@pytest.mark.parametrize("view", ["t", "every_second", "expanded", "empty", "bfloat16"])
def test_a_device_copy_of_any_layout_equals_its_source(view):
    base = torch.randn(6, 8)
    views = {
        "t": lambda x: x.t(),
        "every_second": lambda x: x[::2, 1::3],
        "expanded": lambda x: x[:1].expand(4, 8),
        "empty": lambda x: x[:0],
        "bfloat16": lambda x: x.bfloat16(),
    }
    assert torch.equal(views[view](base.to("npu:2")).to("npu:5").cpu(), views[view](base))


def test_a_copy_into_a_slice_of_another_device_changes_only_the_slice():
    target = torch.zeros(4, device="npu:1")
    target[1:3] = torch.ones(2, device="npu:0")
    assert target.tolist() == [0, 1, 1, 0]


def peer_copy(size: int) -> "torch_npu_sim.Kernel":
    """Returns the kernel that copies `size` bytes from card 0 to card 1."""
    source = torch.empty(size, dtype=torch.uint8, device="npu:0")
    torch.npu.synchronize(0)
    torch.npu.synchronize(1)
    with torch_npu_sim.trace() as trace:
        source.to("npu:1")
    (kernel,) = (kernel for kernel in trace.kernels if kernel.op == "aten::copy_")
    return kernel


def test_a_device_copy_takes_time_that_grows_with_its_bytes():
    small, large = peer_copy(1 << 20), peer_copy(1 << 26)
    assert small.name == large.name == "copy_peer"
    # 64 times the bytes: between 32 and 64 times the time, for a part of it is latency.
    assert 32 * small.duration_us < large.duration_us <= 64 * small.duration_us


def test_a_device_copy_waits_for_the_kernel_that_made_its_source():
    source = torch.ones(4096, 4096, device="npu:0")
    torch.npu.synchronize(0)
    torch.npu.synchronize(1)
    with torch_npu_sim.trace() as trace:
        product = source @ source
        product.to("npu:1")
    (made,) = (kernel for kernel in trace.kernels if kernel.op == "aten::mm")
    (copied,) = (kernel for kernel in trace.kernels if kernel.op == "aten::copy_")
    assert copied.start_us >= made.end_us


def test_a_device_copy_is_waited_for_by_what_its_source_s_device_does_next():
    source = torch.ones(1 << 26, dtype=torch.uint8, device="npu:0")
    torch.npu.synchronize(0)
    torch.npu.synchronize(1)
    with torch_npu_sim.trace() as trace:
        source.to("npu:1", non_blocking=True)
        source.zero_()
    (copied,) = (kernel for kernel in trace.kernels if kernel.op == "aten::copy_")
    (zeroed,) = (kernel for kernel in trace.kernels if kernel.op == "aten::zero_")
    assert zeroed.start_us >= copied.end_us


def test_a_bare_npu_means_the_current_device():
    with torch.npu.device(2):
        assert torch.empty(1, device="npu").device.index == 2
        assert torch.empty(1).npu().device.index == 2


def test_operators_run_on_their_tensors_device_whatever_is_current():
    x = torch.ones(4, device="npu:3")
    with torch.npu.device(1):
        assert (x + 1).device.index == 3
        assert torch.npu.current_device() == 1


def test_operators_do_not_change_the_current_device():
    torch.randn(4, device="npu:3").sort()
    assert torch.npu.current_device() == 0


def test_the_default_device_context_makes_tensors_there():
    with torch.device("npu:1"):
        made = [torch.empty(2), torch.tensor([1.0]), torch.nn.Linear(2, 2).weight, torch.randn(3)]
    assert {tensor.device for tensor in made} == {torch.device("npu", 1)}


def test_set_default_device_takes_npu():
    torch.set_default_device("npu:4")
    try:
        assert torch.zeros(1).device == torch.device("npu", 4)
        assert torch.get_default_device() == torch.device("npu", 4)
    finally:
        torch.set_default_device(None)
    assert torch.zeros(1).device.type == "cpu"


def test_gradients_cross_devices():
    first = torch.tensor([1.0, 2.0, 3.0], device="npu:0", requires_grad=True)
    second = torch.tensor([2.0, 2.0, 2.0], device="npu:1", requires_grad=True)
    ((first * 3).to("npu:1") * second).to("npu:2").sum().backward()
    assert first.grad.device.index == 0 and first.grad.tolist() == [6, 6, 6]
    assert second.grad.device.index == 1 and second.grad.tolist() == [3, 6, 9]


def test_gradients_cross_from_the_cpu_and_back():
    x = torch.ones(3, requires_grad=True)
    (x.to("npu:1") * 2).cpu().sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [2, 2, 2]


def test_a_module_moves_and_keeps_its_parameters():
    layer = torch.nn.Linear(2, 2).to("npu:1")
    weight = layer.weight
    layer.to("npu:2")
    assert layer.weight is weight and weight.device.index == 2


def test_a_pipeline_over_two_devices_trains_as_on_the_cpu():
    torch.manual_seed(1)
    layers = [torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)]
    x = torch.randn(8, 4)
    layers[1](layers[0](x).relu()).sum().backward()
    expected = [layer.weight.grad.clone() for layer in layers]
    for index, layer in enumerate(layers):
        layer.zero_grad()
        layer.to(f"npu:{index}")
    layers[1](layers[0](x.to("npu:0")).relu().to("npu:1")).sum().backward()
    for layer, grad in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.weight.grad.cpu(), grad)


def test_threads_have_devices_of_their_own():
    found = {}
    meet = threading.Barrier(4)

    def work(index: int) -> None:
        torch.npu.set_device(index)
        meet.wait()
        found[index] = torch.empty(1, device="npu").device.index

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0, 1: 1, 2: 2, 3: 3}
    assert torch.npu.current_device() == 0


def test_the_device_module_is_torch_npu():
    for name in ("npu", torch.device("npu:1"), None):
        assert torch.get_device_module(name) is torch.npu


def test_fewer_devices_can_be_asked_for(run_python):
    run = run_python(
        "import torch, torch_npu_sim\n"
        "print(torch.ones(1, device='npu:1').device, torch.accelerator.device_count())\n"
        "try: torch.ones(1, device='npu:2')\n"
        "except RuntimeError as error: print(error)\n",
        NPU_SIM_DEVICES="2",
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "npu:1 2", run.stderr
    assert "invalid device ordinal" in lines[1] and "NPU_SIM_DEVICES" in lines[1]
