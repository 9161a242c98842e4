"""Wrong use fails as it does on torch.cuda: the same type of error, the same words, no crash."""

import numpy as np
import pytest
import torch

import torch_npu_sim


def on(device: str, *shape: int) -> torch.Tensor:
    """Returns ones on the device."""
    return torch.ones(shape or (2, 2), device=device)


MIXED = {
    "add": lambda x, y: x + y,
    "in-place": lambda x, y: x.add_(y),
    "mm": lambda x, y: x @ y,
    "linear": lambda x, y: torch.nn.functional.linear(x, y),
    "cat": lambda x, y: torch.cat([x, y]),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "out": lambda x, y: torch.add(x, x, out=y),
    "conv": lambda x, y: torch.conv2d(x[None, None], y[None, None]),
    "gather": lambda x, y: x.gather(0, y.long()),
    "embedding": lambda x, y: torch.nn.functional.embedding(y.long(), x),
}


@pytest.mark.parametrize("other", ["cpu", "npu:1"])
@pytest.mark.parametrize("name", MIXED)
def test_tensors_of_two_devices_are_refused_and_both_are_named(name, other):
    with pytest.raises(RuntimeError, match="(?i)same device") as caught:
        MIXED[name](on("npu:0"), on(other))
    assert "npu:0" in str(caught.value) and other in str(caught.value)


def test_a_scalar_of_the_cpu_goes_with_any_device():
    assert (on("npu:1") + torch.tensor(2.0)).tolist() == [[3, 3], [3, 3]]


def test_a_scalar_of_another_card_is_refused():
    with pytest.raises(RuntimeError, match="same device"):
        on("npu:1") + torch.tensor(2.0, device="npu:0")


ORDINALS = {
    "empty": lambda: torch.empty(1, device="npu:99"),
    "tensor": lambda: torch.tensor([1.0], device="npu:99"),
    "randn": lambda: torch.randn(2, device="npu:99"),
    "to": lambda: torch.ones(1).to("npu:99"),
    "npu": lambda: torch.ones(1).npu(99),
    "module": lambda: torch.nn.Linear(2, 2).to("npu:99"),
    "set_device": lambda: torch.npu.set_device(99),
    "synchronize": lambda: torch.npu.synchronize(99),
    "stream": lambda: torch.npu.Stream(device="npu:99"),
    "context": lambda: torch.npu.device(99).__enter__(),
    "memory_allocated": lambda: torch.npu.memory_allocated(99),
    "accelerator": lambda: torch.accelerator.set_device_index(99),
    "generator": lambda: torch.Generator("npu:99"),
    "storage": lambda: torch.UntypedStorage(4, device="npu:99"),
    "generic stream": lambda: torch.Stream(device="npu:99"),
}


@pytest.mark.parametrize("name", ORDINALS)
def test_a_device_that_is_not_there_is_a_runtime_error_that_names_it(name):
    with pytest.raises((RuntimeError, ValueError, IndexError), match=r"\b99\b"):
        ORDINALS[name]()
    assert torch.npu.current_device() == 0


@pytest.mark.parametrize("device", ["npu:-1", "npu:x", "npu:", "npus"])
def test_a_wrong_device_string_is_torch_s_error(device):
    with pytest.raises(RuntimeError, match="Invalid device string|Expected one of"):
        torch.empty(1, device=device)


def test_a_negative_device_index_is_torch_s_error():
    with pytest.raises(RuntimeError, match="must not be negative"):
        torch.device("npu", -1)


@pytest.mark.parametrize(
    "convert", [lambda x: x.numpy(), np.asarray, np.array, lambda x: np.add(x, 1)]
)
def test_numpy_is_refused_with_the_way_out(convert):
    with pytest.raises(
        TypeError, match="can't convert npu:1 device type tensor to numpy. Use Tensor.cpu"
    ):
        convert(on("npu:1"))


def test_force_makes_numpy_work():
    assert on("npu").numpy(force=True).tolist() == [[1, 1], [1, 1]]


def test_a_freed_graph_cannot_go_backward_again():
    x = on("npu").requires_grad_()
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    assert x.grad.tolist() == [[2, 2], [2, 2]]


def test_a_changed_saved_tensor_is_found_in_backward():
    x = on("npu").requires_grad_()
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_leaf_that_requires_grad_cannot_change_in_place():
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        on("npu").requires_grad_().add_(1)


@pytest.mark.parametrize("event", [torch.npu.Event, lambda **timing: torch.Event("npu", **timing)])
def test_the_time_of_an_event_that_was_not_recorded_is_refused(event):
    start, end = event(enable_timing=True), event(enable_timing=True)
    with pytest.raises(ValueError, match="Both events must be recorded"):
        start.elapsed_time(end)


@pytest.mark.parametrize("event", [torch.npu.Event, lambda: torch.Event("npu")])
def test_the_time_of_events_without_timing_is_refused(event):
    start, end = event(), event()
    start.record()
    end.record()
    torch.npu.synchronize()
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(end)


def test_events_of_two_devices_have_no_time_between_them():
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record(torch.npu.default_stream(0))
    end.record(torch.npu.default_stream(1))
    torch.npu.synchronize(0)
    torch.npu.synchronize(1)
    with pytest.raises(ValueError, match="npu:0 and npu:1"):
        start.elapsed_time(end)


def device_type() -> int:
    """Returns torch's number of npu, which streams carry."""
    return torch.npu.current_stream().device_type


BAD_STREAMS = {
    "query": lambda stream: stream.query(),
    "synchronize": lambda stream: stream.synchronize(),
    "record": lambda stream: stream.record_event(),
    "wait": lambda stream: stream.wait_event(torch.npu.current_stream().record_event()),
    "select": torch.npu.set_stream,
    "record_stream": lambda stream: on("npu").record_stream(stream),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
@pytest.mark.parametrize("handle", [777, -5])
def test_a_stream_that_no_pool_has_is_refused(name, handle):
    stream = torch.Stream(stream_id=handle, device_index=0, device_type=device_type())
    with pytest.raises((RuntimeError, ValueError), match=str(handle)):
        BAD_STREAMS[name](stream)
    assert torch.npu.current_stream() == torch.npu.default_stream()


@pytest.mark.parametrize("wrong", [3, "stream", torch.npu.Event])
def test_what_is_no_stream_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="expected a torch.Stream"):
        torch.npu.set_stream(wrong)
    with pytest.raises(TypeError, match="expected a torch.Stream"):
        torch.npu.stream(wrong)


@pytest.mark.parametrize("wrong", ["cuda", "cpu", torch.device("cpu"), "meta"])
def test_another_device_type_is_not_an_npu(wrong):
    with pytest.raises(ValueError, match="Expected a npu device"):
        torch.npu.set_device(wrong)


def test_cuda_is_still_not_there():
    with pytest.raises((AssertionError, RuntimeError), match="(?i)cuda"):
        on("npu").cuda()


def test_a_chip_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="nope.*ascend950pr"):
        torch_npu_sim.set_chip("nope")


def test_the_chip_cannot_change_while_memory_is_in_use():
    x = on("npu:3")
    with pytest.raises(RuntimeError, match="no allocated memory, got tensors on npu:.*delete"):
        torch_npu_sim.set_chip("ascend910b2")
    assert torch_npu_sim.get_chip().name == "ascend950pr" and x.sum().item() == 4


@pytest.mark.parametrize(
    "text",
    [
        "base: [\n",
        "- 1\n",
        "name: x\n",
        "base: nope\n",
        "base: ascend950pr\nno_such_number: 3\n",
        "base: ascend950pr\nhibl_bytes_per_s: fast\n",
        "base: ascend950pr\nhibl_bytes_per_s: -1\n",
        "base: ascend950pr\nhibl_bytes_per_s: .nan\n",
        "base: ascend950pr\ncube_cores: 0\n",
        "",
        "\x00",
    ],
    ids=range(11),
)
def test_a_broken_chip_file_is_a_value_error(tmp_path, text):
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="chip"):
        torch_npu_sim.set_chip(str(path))
    assert torch_npu_sim.get_chip().name == "ascend950pr"


def test_a_type_that_numpy_has_and_torch_has_not_is_refused():
    with pytest.raises(TypeError):
        torch.from_numpy(np.ones(2, dtype=np.longdouble)).npu()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.complex128, np.float64])
def test_every_type_torch_takes_from_numpy_reaches_the_card(dtype):
    array = np.arange(4).astype(dtype)
    assert torch.from_numpy(array).npu().cpu().numpy().tolist() == array.tolist()


def test_a_negative_size_is_torch_s_error():
    with pytest.raises(RuntimeError, match="negative dimension"):
        torch.empty(-1, device="npu")


def test_a_size_past_any_address_is_refused():
    with pytest.raises(RuntimeError, match="(?i)overflow|out of memory|invalid"):
        torch.empty(1 << 62, device="npu")


def test_an_index_out_of_range_is_found_at_once():
    with pytest.raises(IndexError, match="out of bounds|out of range"):
        on("npu")[torch.tensor([5], device="npu")]


def test_the_truth_of_many_values_is_ambiguous():
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(on("npu"))
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        on("npu").item()


def test_a_generator_of_the_wrong_device_is_refused():
    with pytest.raises(RuntimeError, match="(?i)expected.*'(npu|cpu)' device type for generator"):
        torch.randn(2, device="npu", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="(?i)expected.*'cpu' device type for generator"):
        torch.randn(2, generator=torch.Generator("npu"))
