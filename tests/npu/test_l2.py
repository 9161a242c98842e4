"""L2 between kernels, as a program sees it."""

from collections.abc import Iterator

import pytest
import torch

import torch_npu_sim
from torch_npu_sim import _C


@pytest.fixture(autouse=True)
def cold() -> Iterator[None]:
    """Starts each test with nothing of its own in L2."""
    torch_npu_sim.flush_l2()
    yield


def kernel_of(function) -> torch_npu_sim.Kernel:
    with torch_npu_sim.trace() as trace:
        function()
    return trace.kernels[-1]


def test_a_tensor_just_written_is_read_faster() -> None:
    x = torch.zeros(4 << 20, device="npu")
    torch_npu_sim.flush_l2()
    first = kernel_of(lambda: torch.neg(x))
    second = kernel_of(lambda: torch.neg(x))
    assert second.alone_us < first.alone_us


def test_a_view_is_warm_where_its_base_is() -> None:
    x = torch.zeros(4 << 20, device="npu")
    torch_npu_sim.flush_l2()
    cold = kernel_of(lambda: torch.neg(x[1 << 20 : 3 << 20]))
    torch_npu_sim.flush_l2()
    torch.neg(x)
    assert kernel_of(lambda: torch.neg(x[1 << 20 : 3 << 20])).alone_us < cold.alone_us


def test_a_flush_makes_the_same_call_take_the_same_time() -> None:
    x = torch.zeros(4 << 20, device="npu")
    times = set()
    for _ in range(3):
        torch_npu_sim.flush_l2()
        times.add(kernel_of(lambda: torch.neg(x)).alone_us)
    assert len(times) == 1


def test_typed_kernels_and_the_route_name_the_same_bytes() -> None:
    x = torch.zeros(1 << 20, device="npu")
    y = torch.zeros(1 << 20, device="npu")
    held = []
    for add in (lambda: x + y, lambda: torch.add(x, y, out=torch.empty_like(x))):
        torch_npu_sim.flush_l2()
        add()
        held.append(_C.l2_contents(0))
    assert held[0] == held[1]
    assert held[0]["resident"] == 3 * 4 << 20
    assert held[0]["dirty"] == 4 << 20


def test_in_place_work_leaves_its_bytes_dirty_once() -> None:
    x = torch.zeros(1 << 20, device="npu")
    torch_npu_sim.flush_l2()
    x.neg_()
    held = _C.l2_contents(0)
    assert held["resident"] == held["dirty"] == 4 << 20


def test_emptying_the_cache_leaves_l2_alone() -> None:
    x = torch.zeros(1 << 20, device="npu")
    x.neg_()
    before = _C.l2_contents(0)
    del x
    torch.npu.empty_cache()
    assert _C.l2_contents(0) == before


def test_flushing_a_card_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a device index"):
        torch_npu_sim.flush_l2(64)
