"""DLPack on npu: zero-copy from npu to npu, refusals as torch.cuda's."""

import pytest
import torch
from torch.utils import dlpack


def test_the_dlpack_device_is_the_extension_s_with_its_index():
    assert torch.ones(1, device="npu:3").__dlpack_device__() == (dlpack.DLDeviceType.kDLExtDev, 3)


def test_cpu_tensors_keep_torch_s_answer():
    assert torch.ones(1).__dlpack_device__() == (dlpack.DLDeviceType.kDLCPU, 0)


@pytest.mark.parametrize("index", [0, 1])
def test_from_dlpack_shares_memory(index):
    x = torch.arange(6.0, device=f"npu:{index}").view(2, 3)
    y = torch.from_dlpack(x.t())
    assert y.device == x.device and y.data_ptr() == x.data_ptr()
    assert y.stride() == (1, 3)
    x[0, 1] = 9
    assert y[1, 0].item() == 9


def test_a_capsule_makes_the_round_trip():
    x = torch.arange(4.0, device="npu")
    y = dlpack.from_dlpack(dlpack.to_dlpack(x))
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal((y + 1).cpu(), torch.arange(1.0, 5.0))


def test_imported_memory_lives_as_long_as_the_import():
    before = torch.npu.memory_allocated()
    y = torch.from_dlpack(torch.full((1000,), 3.0, device="npu"))
    assert y.sum().item() == 3000
    assert torch.npu.memory_allocated() > before
    del y
    assert torch.npu.memory_allocated() == before


def test_operators_write_through_an_import():
    x = torch.zeros(4, device="npu")
    y = torch.from_dlpack(x)
    y.add_(1)
    torch.add(x, 1, out=y)
    assert x.tolist() == [2] * 4


def test_autograd_works_on_an_import():
    y = torch.from_dlpack(torch.ones(3, device="npu")).requires_grad_()
    (y * y).sum().backward()
    assert y.grad.tolist() == [2, 2, 2]


def test_a_tensor_that_requires_grad_is_refused():
    with pytest.raises(BufferError, match="require gradient"):
        torch.from_dlpack(torch.ones(1, device="npu", requires_grad=True))


def test_array_interfaces_are_refused():
    x = torch.ones(1, device="npu")
    assert not hasattr(x, "__array_interface__")
    assert not hasattr(x, "__cuda_array_interface__")
