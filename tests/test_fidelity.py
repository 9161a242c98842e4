"""torch_npu_sim: fidelity of the model."""

from collections.abc import Iterator

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def tile_again() -> Iterator[None]:
    """Leaves the default behind."""
    yield
    torch_npu_sim.set_fidelity("tile")


def streaming_us(fidelity: str) -> float:
    torch_npu_sim.set_fidelity(fidelity)
    x = torch.zeros(32 << 20, device="npu")
    torch_npu_sim.flush_l2()
    with torch_npu_sim.trace() as trace:
        torch.neg(x)
    return trace.kernels[0].alone_us


def test_the_default_is_tile() -> None:
    assert torch_npu_sim.get_fidelity() == "tile"


def test_a_fidelity_can_be_set_while_tensors_live() -> None:
    x = torch.ones(8, device="npu")
    torch_npu_sim.set_fidelity("dram")
    assert torch_npu_sim.get_fidelity() == "dram"
    assert (x + 1).sum().item() == 16


def test_dram_agrees_with_tile_on_a_stream_within_5_percent() -> None:
    assert streaming_us("dram") == pytest.approx(streaming_us("tile"), rel=0.05)


def test_the_roofline_knows_no_l2() -> None:
    torch_npu_sim.set_fidelity("roofline")
    x = torch.zeros(4 << 20, device="npu")
    with torch_npu_sim.trace() as trace:
        torch.neg(x)
        torch.neg(x)
    assert trace.kernels[0].alone_us == trace.kernels[1].alone_us


def test_a_chip_keeps_the_fidelity(run_python) -> None:
    code = """
import torch_npu_sim
torch_npu_sim.set_chip("ascend910b2")
print(torch_npu_sim.get_fidelity())
"""
    assert run_python(code, NPU_SIM_FIDELITY="dram").stdout.strip() == "dram"


def test_an_unknown_fidelity_is_an_error() -> None:
    with pytest.raises(ValueError, match='expected roofline, tile or dram, got "cycle"'):
        torch_npu_sim.set_fidelity("cycle")
