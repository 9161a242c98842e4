"""Fake tensors of npu have the device, shape and strides that real ones get."""

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_has_the_strides_of_the_real_one(
    layout: torch.memory_format, transposed: bool
) -> None:
    x = torch.randn(2, 3, 8, 8, device="npu:1").to(memory_format=layout)
    weight = torch.randn(3, 3, 3, 3, device="npu:1")
    convolve = F.conv_transpose2d if transposed else F.conv2d
    real = convolve(x, weight)
    with FakeTensorMode() as mode:
        fake = convolve(mode.from_tensor(x), mode.from_tensor(weight))
    assert (fake.device, fake.shape, fake.stride()) == (real.device, real.shape, real.stride())


def test_attention_has_the_strides_of_the_real_one(npu: Any) -> None:
    q = torch.randn(2, 8, 4, 16, device=npu).transpose(1, 2)
    real = F.scaled_dot_product_attention(q, q, q)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(q)
        fake = F.scaled_dot_product_attention(fake, fake, fake)
    assert (fake.device, fake.shape, fake.stride()) == (real.device, real.shape, real.stride())


def test_they_name_their_card_and_take_no_memory() -> None:
    before = torch.npu.memory_allocated(2)
    with FakeTensorMode():
        x = torch.randn(1000, device="npu:2")
        y = torch.nn.Linear(1000, 10, device="npu:2")(x)
        assert (y.device, y.cpu().device) == (torch.device("npu:2"), torch.device("cpu"))
        assert y.cpu().npu().device == torch.device("npu:0")
    assert torch.npu.memory_allocated(2) == before


def test_two_cards_do_not_mix() -> None:
    with FakeTensorMode():
        one, two = torch.empty(3, device="npu:0"), torch.empty(3, device="npu:1")
        with pytest.raises(RuntimeError, match="npu:0"):
            one + two
