"""Storages: sharing, resizing, set_, exchange, and what Module.to keeps."""

import copy

import pytest
import torch
from torch import nn


@pytest.mark.parametrize("size", [(0,), (1,), (2, 3), (7, 5), (50,)], ids=str)
def test_resize_keeps_the_prefix(same, size) -> None:
    def run(device):
        x = torch.arange(12.0, device=device)
        kept = min(x.numel(), torch.Size(size).numel())
        assert x.resize_(size) is x
        return list(x.shape), x.stride(), x.reshape(-1)[:kept].clone(), x.untyped_storage().nbytes()

    same(run, torch.device("cpu"))


def test_resize_of_a_view_moves_the_shared_storage(npu) -> None:
    for device in ("cpu", npu):
        x = torch.arange(6.0, device=device)
        view = x[2:]
        view.resize_(10)
        assert view[:4].tolist() == [2.0, 3.0, 4.0, 5.0]
        assert x.untyped_storage().nbytes() == 48
        assert x.data_ptr() + 8 == view.data_ptr()
        view.fill_(1)
        assert x.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_resize_as_takes_the_shape_of_the_template(same) -> None:
    def run(x):
        y = torch.empty(0, device=x.device).resize_as_(x)
        return y.copy_(x)

    same(run, torch.randn(3, 4))
    for device in ("cpu", "npu"):
        template = torch.empty(1, 2, 3, 4, device=device).contiguous(
            memory_format=torch.channels_last
        )
        y = torch.empty(0, device=device).resize_as_(template, memory_format=torch.preserve_format)
        assert y.stride() == template.stride()


SETS = {
    "storage": lambda x, y: y.set_(x.untyped_storage()),
    "storage_offset": lambda x, y: y.set_(x.untyped_storage(), 2, (2, 3), (1, 2)),
    "storage_size": lambda x, y: y.set_(x.untyped_storage(), 1, (2, 2)),
    "tensor": lambda x, y: y.set_(x.t()),
    "tensor_offset": lambda x, y: torch.ops.aten.set_.source_Tensor_storage_offset(
        y, x, 2, (2,), (3,)
    ),
    "typed": lambda x, y: y.set_(x._typed_storage()),
}


@pytest.mark.parametrize("call", SETS.values(), ids=SETS.keys())
def test_set_makes_the_tensor_see_the_other_storage(same, call) -> None:
    def run(x, y):
        assert call(x, y) is y
        assert y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        x.add_(1)
        return y

    same(run, torch.arange(12.0).view(3, 4), torch.zeros(2))


def test_set_without_source_empties_the_tensor(same) -> None:
    same(lambda x: x.set_(), torch.ones(3))


def test_set_beyond_the_storage_grows_it(same) -> None:
    def run(x):
        y = torch.empty(0, device=x.device).set_(x.untyped_storage(), 0, (6,), (1,))
        return y[:4].clone(), x.untyped_storage().nbytes()

    same(run, torch.ones(4))


def test_set_to_a_storage_of_another_device_is_refused(npu) -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=npu).set_(torch.ones(3).untyped_storage())
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3).set_(torch.ones(3, device=npu).untyped_storage())


def test_untyped_storage_resizes_in_bytes_and_keeps_the_prefix(npu) -> None:
    x = torch.arange(4.0, device=npu)
    storage = x.untyped_storage()
    storage.resize_(0)
    assert storage.nbytes() == 0
    assert storage.size() == 0
    storage.resize_(32)
    assert x.untyped_storage().nbytes() == 32
    x.copy_(torch.arange(4.0))
    storage.resize_(64)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_tensor_whose_storage_was_emptied_is_refused_not_read(npu) -> None:
    x = torch.ones(3, device=npu)
    x.untyped_storage().resize_(0)
    for call in (lambda: x + 1, lambda: x @ x, lambda: x.cpu(), lambda: x.zero_()):
        with pytest.raises(RuntimeError, match="resized to 0 bytes"):
            call()
    x.untyped_storage().resize_(12)
    assert x.zero_().tolist() == [0.0, 0.0, 0.0]


def test_storage_knows_device_size_and_elements(npu) -> None:
    x = torch.arange(4, dtype=torch.int32, device=npu)
    storage = x.untyped_storage()
    assert storage.device == npu
    assert storage.nbytes() == 16
    assert len(storage.tolist()) == 16
    typed = x._typed_storage()
    assert typed.device == npu
    assert typed.tolist() == [0, 1, 2, 3]
    assert typed[2] == 2
    assert typed.dtype == torch.int32
    assert typed.cpu().tolist() == [0, 1, 2, 3]


def test_storage_fill_copy_clone_and_slices(npu) -> None:
    x = torch.zeros(4, dtype=torch.uint8, device=npu)
    storage = x.untyped_storage()
    storage.fill_(3)
    assert x.tolist() == [3, 3, 3, 3]
    storage.copy_(torch.arange(4, dtype=torch.uint8).untyped_storage())
    assert x.tolist() == [0, 1, 2, 3]
    assert storage.clone().data_ptr() != storage.data_ptr()
    assert storage.cpu().tolist() == [0, 1, 2, 3]
    assert storage[1] == 1


def test_storage_is_shared_object_for_object(npu) -> None:
    x = torch.ones(4, device=npu)
    assert x.untyped_storage()._cdata == x[1:].untyped_storage()._cdata
    assert x.untyped_storage()._cdata != x.clone().untyped_storage()._cdata


def test_data_exchanges_the_bytes(same) -> None:
    def run(x):
        y = torch.zeros(2, 2, device=x.device)
        before = x
        x.data = y
        y.fill_(4)
        assert before is x
        return x

    same(run, torch.ones(3))


def test_data_of_a_parameter_may_move_to_npu(npu) -> None:
    p = nn.Parameter(torch.ones(3))
    p.data = p.data.to(npu)
    assert p.device == npu
    assert p.is_leaf and isinstance(p, nn.Parameter)


def test_swap_tensors_exchanges_two_tensors(npu) -> None:
    a, b = torch.ones(2, device=npu), torch.zeros(3)
    torch.utils.swap_tensors(a, b)
    assert (a.device.type, b.device.type) == ("cpu", "npu")
    assert a.tolist() == [0.0, 0.0, 0.0] and b.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("swap", [False, True])
def test_module_to_keeps_each_parameter_the_same_object(npu, swap) -> None:
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        before = [id(p) for p in module.parameters()]
        module.to(npu)
        assert [id(p) for p in module.parameters()] == before
        assert {p.device for p in module.parameters()} == {npu}
        module.cpu().half().to(npu).float()
        assert [id(p) for p in module.parameters()] == before
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def test_module_to_moves_gradients_and_keeps_ties(npu) -> None:
    module = nn.Linear(3, 3)
    module.tied = module.weight
    module(torch.ones(2, 3)).sum().backward()
    module.to(npu)
    assert module.tied is module.weight
    assert module.weight.grad.device == npu


def test_module_npu_moves_as_module_cuda_does(npu) -> None:
    module = nn.Linear(2, 2).npu()
    assert module.weight.device == npu and module.weight.is_npu
    assert torch.ones(2).npu().device == npu


def test_lazy_modules_take_their_shape_on_npu(npu) -> None:
    module = nn.LazyLinear(4).to(npu)
    assert module(torch.ones(2, 5, device=npu)).shape == (2, 4)
    assert module.weight.shape == (4, 5) and module.weight.device == npu


def test_copy_on_write_clone_is_independent_of_its_source(npu) -> None:
    x = torch.arange(4.0, device=npu)
    y = torch._lazy_clone(x)
    y.add_(1)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert y.tolist() == [1.0, 2.0, 3.0, 4.0]
    z = torch._lazy_clone(x)
    x.mul_(2)
    assert z.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_meta_module_becomes_real_with_to_empty(npu) -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 4)
    module.to_empty(device=npu)
    module.reset_parameters()
    assert module(torch.ones(1, 3, device=npu)).shape == (1, 4)


def test_deepcopy_keeps_shared_storages_shared(npu) -> None:
    x = torch.ones(4, device=npu)
    a, b = copy.deepcopy((x, x[1:]))
    a.fill_(3)
    assert b.tolist() == [3.0, 3.0, 3.0]
    assert x.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_meta_tensor_cannot_be_copied_to_npu(npu) -> None:
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        torch.empty(3, device="meta").to(npu)
    assert torch.empty_like(torch.empty(3, device="meta"), device=npu).device == npu
