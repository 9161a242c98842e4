"""torch.npu.FloatTensor and its kin."""

import pytest
import torch

from torch_npu_sim.npu import tensor_types


@pytest.mark.parametrize("name", tensor_types.__all__)
def test_a_type_names_the_tensors_it_makes(name):
    kind = getattr(torch.npu, name)
    made = kind(2, 3)
    assert isinstance(made, kind)
    assert made.type() == f"torch.npu.{name}"
    assert made.shape == (2, 3)


def test_data_is_taken_too():
    assert torch.npu.FloatTensor([1.5, 2.5]).tolist() == [1.5, 2.5]


def test_neither_another_dtype_nor_the_cpu_is_an_instance():
    assert not isinstance(torch.ones(1, device="npu"), torch.npu.HalfTensor)
    assert not isinstance(torch.ones(1), torch.npu.FloatTensor)


def test_a_tensor_is_cast_to_a_type_by_its_name():
    assert torch.ones(1).type("torch.npu.HalfTensor").dtype == torch.float16
