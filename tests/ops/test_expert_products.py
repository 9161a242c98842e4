"""Experts in MX formats differ from those in bf16 by what the formats lose, no more and no less."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.expert_products import (
    ExpertProducts,
    experts_error,
    format_error,
)

HIDDEN, INNER, EXPERTS, ROWS = 256, 128, 4, 96


@pytest.mark.parametrize("form", ["mxfp8", "mxfp4"])
def test_the_error_of_experts_is_that_of_their_format(form: str) -> None:
    torch.manual_seed(5)
    x = torch.randn(ROWS, HIDDEN).bfloat16().npu()
    up = (torch.randn(EXPERTS, 2 * INNER, HIDDEN) * HIDDEN**-0.5).bfloat16().npu()
    down = (torch.randn(EXPERTS, HIDDEN, INNER) * INNER**-0.5).bfloat16().npu()
    groups = {
        "group_list": torch.tensor([40, 0, 56, 0]).npu(),
        "split_item": 3,
        "group_type": 0,
        "group_list_type": 1,
    }

    def experts(form: str) -> torch.Tensor:
        hidden = ExpertProducts(up, form)(x, groups)
        return ExpertProducts(down, form)(torch_npu_sim.npu_swiglu(hidden), groups).float()

    want = experts("bf16")
    difference = float((experts(form) - want).norm() / want.norm())
    assert difference < experts_error(up, form)
    assert difference > format_error(up, form)  # it is quantised indeed


def test_formats_lose_what_their_fractions_leave_out() -> None:
    values = torch.randn(64, 256).bfloat16().npu()
    assert format_error(values, "bf16") == 0
    # On average a fraction of b bits loses at most 2^-(b + 1) / sqrt(3) of a value.
    assert 0.015 < format_error(values, "mxfp8") < 2**-4 / 3**0.5
    assert 0.06 < format_error(values, "mxfp4") < 2**-2 / 3**0.5
