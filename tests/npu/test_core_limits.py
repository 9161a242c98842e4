"""torch.npu: limits on the cores that kernels may use."""

from collections.abc import Iterator

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def unlimited() -> Iterator[None]:
    """Lifts the card's limit after each test."""
    yield
    chip = torch_npu_sim.get_chip()
    cores = int(chip["cube_cores"]), int(chip["vector_cores"])
    torch.npu.set_device_limit(0, *cores)


@pytest.fixture(scope="module")
def factor() -> torch.Tensor:
    """A matrix whose square takes far longer than a launch."""
    return torch.zeros(2048, 2048, device="npu")


def kernel_us(factor: torch.Tensor, stream: torch.Stream | None = None) -> float:
    """The simulated time of one product, alone on the card."""
    torch_npu_sim.flush_l2()
    with torch.npu.stream(stream), torch_npu_sim.trace() as trace:
        factor @ factor
        torch.npu.synchronize()
    (kernel,) = trace.kernels
    return kernel.duration_us


def half_the_cubes() -> int:
    return int(torch_npu_sim.get_chip()["cube_cores"]) // 2


def test_half_the_cubes_double_the_time_of_a_product(factor: torch.Tensor) -> None:
    floor = torch_npu_sim.get_chip()["launch_floor_ns"] / 1000
    whole = kernel_us(factor) - floor
    torch.npu.set_device_limit(0, half_the_cubes())
    # Start, first fill and last drain of a kernel take as long on fewer cores.
    assert kernel_us(factor) - floor == pytest.approx(2 * whole, rel=0.05)


def test_lifting_the_limit_restores_the_picosecond(factor: torch.Tensor) -> None:
    stream = torch.npu.Stream()
    before = kernel_us(factor, stream)
    torch.npu.set_stream_limit(stream, half_the_cubes())
    assert kernel_us(factor, stream) > before
    torch.npu.reset_stream_limit(stream)
    assert kernel_us(factor, stream) == before


def test_a_limit_of_vector_cores_leaves_a_product_alone(factor: torch.Tensor) -> None:
    before = kernel_us(factor)
    torch.npu.set_device_limit(0, vector_num=1)
    assert kernel_us(factor) == before


def test_a_stream_goes_before_its_card() -> None:
    stream = torch.npu.Stream()
    torch.npu.set_device_limit("npu:0", 12, 24)
    assert torch.npu.get_stream_limit(stream) == {"cube_core_num": 12, "vector_core_num": 24}
    torch.npu.set_stream_limit(stream, cube_num=3)
    assert torch.npu.get_stream_limit(stream) == {"cube_core_num": 3, "vector_core_num": 24}
    assert torch.npu.get_device_limit() == {"cube_core_num": 12, "vector_core_num": 24}
    torch.npu.reset_stream_limit(stream)
    assert torch.npu.get_stream_limit(stream) == torch.npu.get_device_limit()


def test_other_cards_are_not_limited() -> None:
    before = torch.npu.get_device_limit(1)
    torch.npu.set_device_limit(0, 2, 2)
    assert torch.npu.get_device_limit(1) == before


@pytest.mark.parametrize("cubes", [0, -2, 10_000])
def test_a_number_out_of_range_is_refused(cubes: int) -> None:
    with pytest.raises(ValueError, match=rf"cube_num from 1 to \d+.*got {cubes}"):
        torch.npu.set_device_limit(0, cubes)
    with pytest.raises(ValueError, match="cube_num from 1 to"):
        torch.npu.set_stream_limit(torch.npu.Stream(), cubes)


def test_only_cards_and_streams_can_be_limited() -> None:
    with pytest.raises(AssertionError, match="Invalid device id"):
        torch.npu.set_device_limit(99, 1)
    with pytest.raises(TypeError, match=r"expected a torch\.Stream"):
        torch.npu.set_stream_limit(0, 1)
