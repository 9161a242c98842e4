"""Saving and loading: torch.save, pickle, safetensors; storages on npu."""

import io
import pickle

import pytest
import torch
from safetensors import torch as safetensors


def saved(content: object) -> io.BytesIO:
    """Returns what torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


LOCATIONS = {
    "none": (None, "npu:2"),
    "npu:0": ("npu:0", "npu:0"),
    "npu": ("npu", "npu:0"),
    "cpu": ("cpu", "cpu"),
    "device": (torch.device("npu:1"), "npu:1"),
    "dict": ({"npu:2": "npu:3"}, "npu:3"),
    "dict to cpu": ({"npu:2": "cpu"}, "cpu"),
    "callable": (lambda storage, location: storage.npu(1), "npu:1"),
    "callable keeps": (lambda storage, location: storage, "cpu"),
}


@pytest.mark.parametrize("name", LOCATIONS)
def test_map_location_says_where_a_tensor_goes(name):
    location, expected = LOCATIONS[name]
    file = saved({"x": torch.arange(3, device="npu:2")})
    loaded = torch.load(file, map_location=location, weights_only=True)["x"]
    assert loaded.device == torch.device(expected)
    assert loaded.tolist() == [0, 1, 2]


def test_a_cpu_tensor_loads_onto_npu():
    loaded = torch.load(saved(torch.arange(3)), map_location="npu:1", weights_only=True)
    assert loaded.device == torch.device("npu:1") and loaded.tolist() == [0, 1, 2]


def test_a_device_that_is_not_there_is_refused_with_the_way_out():
    with pytest.raises(RuntimeError, match="device 99 but.*device_count.*map_location"):
        torch.load(saved(torch.ones(1, device="npu")), map_location="npu:99")


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.complex64], ids=str
)
def test_every_type_comes_back_equal(dtype):
    x = torch.tensor([0, 1, 1, 0], device="npu").to(dtype)
    loaded = torch.load(saved(x), weights_only=True)
    assert loaded.dtype == dtype and loaded.device == x.device
    assert torch.equal(loaded, x)


def test_views_that_share_memory_share_it_after_loading():
    x = torch.arange(6, device="npu")
    whole, part = torch.load(saved([x, x[2:4]]), weights_only=True)
    whole.zero_()
    assert part.tolist() == [0, 0]


def test_parameters_and_gradients_flags_come_back():
    loaded = torch.load(saved(torch.nn.Parameter(torch.ones(2, device="npu"))), weights_only=True)
    assert isinstance(loaded, torch.nn.Parameter) and loaded.requires_grad
    assert loaded.device.type == "npu"


def test_training_continues_from_a_checkpoint():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 3).npu()
    optimizer = torch.optim.AdamW(model.parameters())

    def step(module: torch.nn.Module, with_optimizer: torch.optim.Optimizer) -> torch.Tensor:
        with_optimizer.zero_grad()
        module(torch.ones(2, 3, device="npu")).square().sum().backward()
        with_optimizer.step()
        return module.weight.detach().clone()

    step(model, optimizer)
    file = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    expected = step(model, optimizer)
    state = torch.load(file, map_location="cpu", weights_only=True)
    again = torch.nn.Linear(3, 3).npu()
    again.load_state_dict(state["model"])
    restored = torch.optim.AdamW(again.parameters())
    restored.load_state_dict(state["optimizer"])
    assert torch.equal(step(again, restored), expected)


def test_pickle_keeps_device_and_values():
    x = torch.randn(3, 4, device="npu:2").t()
    again = pickle.loads(pickle.dumps(x))
    assert again.device == x.device and torch.equal(again, x)


def test_safetensors_save_and_load_on_npu(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.save_file({"x": torch.arange(4.0, device="npu:2")}, path)
    for device in ("npu:0", "npu:1", "npu", "cpu"):
        loaded = safetensors.load_file(path, device=device)["x"]
        assert loaded.device.type == torch.device(device).type
        assert loaded.device.index == (
            torch.device(device).index or (0 if "npu" in device else None)
        )
        assert loaded.tolist() == [0, 1, 2, 3]


def test_untyped_storages_live_on_the_device_they_name():
    storage = torch.UntypedStorage(16, device="npu:1")
    assert storage.device == torch.device("npu:1")
    assert storage.is_npu and len(storage) == storage.nbytes() == 16


def test_storages_move_between_devices():
    storage = torch.arange(4, dtype=torch.uint8).untyped_storage()
    there = storage.npu(1)
    assert there.device == torch.device("npu:1")
    assert there.cpu().tolist() == there.tolist() == [0, 1, 2, 3]


def test_a_storage_copies_clones_and_fills():
    storage = torch.UntypedStorage(4, device="npu").fill_(7)
    clone = storage.clone()
    storage.fill_(1)
    assert clone.tolist() == [7] * 4 and storage.tolist() == [1] * 4
    assert storage.copy_(clone).tolist() == [7] * 4


def test_a_storage_keeps_its_front_when_resized():
    x = torch.arange(4, dtype=torch.uint8, device="npu")
    x.untyped_storage().resize_(8)
    assert x.untyped_storage().nbytes() == 8
    assert x.tolist() == [0, 1, 2, 3]


def test_set_lays_a_tensor_over_a_storage():
    storage = torch.UntypedStorage(16, device="npu")
    x = torch.empty(0, device="npu").set_(storage, 0, (2, 2), (1, 2))
    x.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert x.data_ptr() == storage.data_ptr()
    assert torch.empty(0, device="npu").set_(storage, 0, (4,), (1,)).tolist() == [1, 3, 2, 4]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_typed_storages_read_values():
    storage = torch.tensor([1.5, 2.5], device="npu").storage()
    assert storage.device.type == "npu" and storage.tolist() == [1.5, 2.5]
    storage[0] = 4.0
    assert storage[0] == 4.0
