"""torch.npu: random numbers."""

import pytest
import torch


def draw(device: str = "npu") -> list[float]:
    """Returns four random numbers."""
    return torch.rand(4, device=device).tolist()


def test_a_seed_gives_the_same_numbers_again():
    torch.npu.manual_seed(7)
    first = draw()
    torch.npu.manual_seed(7)
    assert draw() == first


def test_numbers_go_on_without_a_new_seed():
    torch.npu.manual_seed(7)
    assert draw() != draw()


def test_a_seed_gives_the_numbers_the_cpu_gives():
    torch.manual_seed(11)
    on_cpu = draw("cpu")
    torch.manual_seed(11)
    assert draw() == on_cpu


def test_torch_manual_seed_seeds_every_device():
    torch.manual_seed(5)
    assert [g.initial_seed() for g in torch.npu.default_generators] == [
        5
    ] * torch.npu.device_count()


def test_manual_seed_seeds_the_current_device_only():
    torch.npu.manual_seed_all(1)
    with torch.npu.device(1):
        torch.npu.manual_seed(2)
        assert torch.npu.initial_seed() == 2
    assert torch.npu.initial_seed() == 1


def test_seed_all_gives_every_device_one_new_seed():
    torch.npu.manual_seed_all(1)
    torch.npu.seed_all()
    seeds = {generator.initial_seed() for generator in torch.npu.default_generators}
    assert len(seeds) == 1
    assert seeds != {1}


def test_a_state_put_back_repeats_the_numbers():
    state = torch.npu.get_rng_state()
    first = draw()
    torch.npu.set_rng_state(state)
    assert draw() == first


def test_states_of_all_devices_put_back_repeat_the_numbers():
    states = torch.npu.get_rng_state_all()
    first = [draw("npu:0"), draw("npu:1")]
    torch.npu.set_rng_state_all(states)
    assert [draw("npu:0"), draw("npu:1")] == first


def test_devices_draw_apart():
    torch.npu.manual_seed_all(3)
    first = draw("npu:1")
    torch.npu.manual_seed_all(3)
    draw("npu:0")
    assert draw("npu:1") == first


def test_a_state_is_a_cpu_byte_tensor():
    state = torch.npu.get_rng_state("npu:1")
    assert (state.dtype, state.device.type) == (torch.uint8, "cpu")


def test_fork_rng_leaves_the_generator_as_it_was():
    torch.npu.manual_seed(9)
    with torch.random.fork_rng(devices=[0], device_type="npu"):
        draw()
    after_fork = draw()
    torch.npu.manual_seed(9)
    assert draw() == after_fork


def test_a_generator_of_one_s_own_is_independent():
    generator = torch.Generator("npu").manual_seed(21)
    torch.npu.manual_seed(1)
    first = torch.rand(3, device="npu", generator=generator).tolist()
    torch.npu.manual_seed(2)
    generator.manual_seed(21)
    assert torch.rand(3, device="npu", generator=generator).tolist() == first


def test_a_cpu_generator_on_npu_is_refused():
    with pytest.raises(RuntimeError, match="(?i)generator"):
        torch.rand(3, device="npu", generator=torch.Generator())
