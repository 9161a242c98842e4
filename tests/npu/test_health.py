"""torch.npu: utilization, stopping a card, and the checks for faults."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    """Leaves every card running."""
    yield
    torch.npu.restart_device(0)


def test_an_idle_card_has_no_utilization() -> None:
    torch.npu.synchronize(3)
    torch.npu.utilization(3)
    assert torch.npu.utilization(3) == 0


def test_utilization_is_the_share_of_time_in_which_kernels_ran() -> None:
    x = torch.zeros(2048, 2048, device="npu")
    torch.npu.synchronize()
    torch.npu.utilization()
    x @ x
    torch.npu.synchronize()
    busy = torch.npu.utilization()
    assert isinstance(busy, int)
    assert 50 < busy <= 100
    assert torch.npu.utilization() == 0


def test_a_stopped_card_refuses_work_until_it_is_restarted() -> None:
    x = torch.ones(4, device="npu:0")
    assert torch.npu.stop_device(0) == 0
    with pytest.raises(RuntimeError, match=r"FORCE STOP.*npu:0.*restart_device\(0\)"):
        x + 1
    assert (torch.ones(4, device="npu:1") + 1).tolist() == [2, 2, 2, 2]
    torch.npu.restart_device(0, rebuild_all_resources=1)
    assert (x + 1).tolist() == [2, 2, 2, 2]


def test_a_simulated_card_has_no_faults() -> None:
    assert torch.npu.check_uce_in_memory(0) == 0
    assert torch.npu.stress_detect() == 0


@pytest.mark.parametrize(
    "call",
    [
        torch.npu.utilization,
        torch.npu.stop_device,
        torch.npu.restart_device,
        torch.npu.check_uce_in_memory,
    ],
)
def test_a_card_that_does_not_exist_is_refused(call) -> None:
    with pytest.raises(AssertionError, match="Invalid device id"):
        call(99)
