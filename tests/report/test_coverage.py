"""torch_npu_sim.coverage: native, composite, host fallback; time lost; what to use instead."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import torch_npu_sim
from torch_npu_sim.report.composed_operators import COMPOSED_OPERATORS
from torch_npu_sim.report.coverage import Support
from torch_npu_sim.report.fallback_advice import advice_for

SOURCE = Path(__file__).parents[2] / "csrc/aten/describe/composed_operators.cpp"


@pytest.fixture
def x():
    return torch.rand(64, 64, device="npu") + 0.5


def test_a_product_is_native_and_isnan_is_composite(x):
    with torch_npu_sim.coverage() as found:
        torch.mm(x, x)
        x.isnan()
        x.clone()
    support = {use.op: use.support for use in found.operators}
    assert support["aten::mm"] is Support.NATIVE
    assert support["aten::isnan"] is Support.COMPOSITE
    assert found.fallbacks == []
    assert "no operator fell back" in found.table()


def test_a_fallback_tells_its_time_and_what_to_use(x):
    with torch_npu_sim.coverage() as found:
        torch.lgamma(x)
        torch.lgamma(x)
        torch.mm(x, x)
    (use,) = found.fallbacks
    spans = [kernel.duration_us for kernel in found.trace.kernels if kernel.name == "host"]
    assert (use.op, use.kernels) == ("aten::lgamma", 2)
    assert use.total_us == pytest.approx(sum(spans))
    assert 0 < use.lost_us < use.total_us
    assert found.operators[0] is use
    assert f"aten::lgamma: {use.instead}" in found.table()


def test_what_is_lost_is_all_beyond_a_pass_over_the_same_bytes():
    def lost(size: int) -> tuple[float, float]:
        x = torch.ones(size, device="npu")
        with torch_npu_sim.coverage() as found:
            torch.lgamma(x)
        (use,) = found.fallbacks
        return use.total_us, use.lost_us

    (small, small_lost), (large, large_lost) = lost(1 << 10), lost(1 << 20)
    assert small_lost < large_lost
    assert small - small_lost < large - large_lost  # the card's pass grows with the bytes


def test_the_data_count_what_the_table_lists(x):
    with torch_npu_sim.coverage() as found:
        torch.lgamma(x)
        x + x
    data = found.to_dict()
    assert data["counts"] == {"native": 1, "composite": 0, "host fallback": 1}
    assert data["lost_us"] == found.fallbacks[0].lost_us
    assert data["chip"] == torch_npu_sim.get_chip().name


def test_a_run_without_kernels_says_so():
    with torch_npu_sim.coverage() as found:
        pass
    assert "no operator launched a kernel" in found.table()


def test_the_composed_operators_are_those_of_the_describers():
    lists = SOURCE.read_text().split("template <")[0]
    names = set(re.findall(r'"([^"/]+)"', lists))
    assert names == COMPOSED_OPERATORS


def copysign(a, b):
    return torch.where(b < 0, -a.abs(), a.abs())


def huber(a, b):
    return F.smooth_l1_loss(a, b, beta=0.3) * 0.3


# What the advice says, beside the operator that it replaces.
REPLACEMENTS = {
    "copysign": (torch.copysign, copysign),
    "fmax": (torch.fmax, torch.maximum),
    "fmin": (torch.fmin, torch.minimum),
    "heaviside": (
        torch.heaviside,
        lambda a, b: torch.where(a == 0, b, (a > 0).to(a.dtype)),
    ),
    "huber_loss": (lambda a, b: F.huber_loss(a, b, delta=0.3), huber),
    "hypot": (torch.hypot, lambda a, b: torch.sqrt(a * a + b * b)),
    "special_xlog1py": (torch.special.xlog1py, lambda a, b: a * torch.log1p(b)),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_what_to_use_instead_gives_the_same_and_stays_on_the_card(name):
    a, b = torch.randn(2, 33, device="npu").unbind()
    b = b.abs() + 0.1 if "log" in name else b
    operator, instead = REPLACEMENTS[name]
    with torch_npu_sim.coverage() as before:
        want = operator(a, b)
    with torch_npu_sim.coverage() as after:
        got = instead(a, b)
    torch.testing.assert_close(got.cpu(), want.cpu())
    assert [use.op.split("::")[1].split(".")[0] for use in before.fallbacks] == [name]
    assert after.fallbacks == []


def test_draws_of_cauchy_and_log_normal_can_be_made_on_the_card():
    x = torch.empty(64, device="npu")
    with torch_npu_sim.coverage() as found:
        x.normal_(0.0, 1.0).exp_()
        torch.tan(math.pi * (torch.rand_like(x) - 0.5)) * 2.0 + 1.0
    assert found.fallbacks == []


@pytest.mark.parametrize("name", ["linalg_qr", "special_bessel_j0", "no_such_operator"])
def test_there_is_advice_for_every_operator(name):
    assert len(advice_for(name)) > 10
