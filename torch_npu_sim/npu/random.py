"""Random numbers: one default generator a card, each as torch's CPU generator would be seeded."""

from collections.abc import Iterable

import torch

from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of, current_device, device_count
from torch_npu_sim.npu.lifecycle import _lazy_call, _lazy_init, default_generators

__all__ = [
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]


def _generator(device: DeviceLike, caller: str) -> torch.Generator:
    return default_generators()[_existing(_index_of(device), caller)]


def get_rng_state(device: DeviceLike = "npu") -> torch.Tensor:
    """Returns the state of the card's generator as a ByteTensor. Initialises the device."""
    return _generator(device, "get_rng_state").get_state()


def get_rng_state_all() -> list[torch.Tensor]:
    """Returns the state of every card's generator. Initialises the device."""
    return [generator.get_state() for generator in default_generators()]


def set_rng_state(new_state: torch.Tensor, device: DeviceLike = "npu") -> None:
    """Sets the state of the card's generator.

    Args:
        new_state: what get_rng_state returned.
        device: the card; the current one by default.
    """
    state = new_state.clone(memory_format=torch.contiguous_format)
    _lazy_call(lambda: _set_state(state, device))


def _set_state(state: torch.Tensor, device: DeviceLike) -> None:
    _generator(device, "set_rng_state").set_state(state)


def set_rng_state_all(new_states: Iterable[torch.Tensor]) -> None:
    """Sets the state of the generators of card 0, 1 and so on."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current card."""
    number = int(seed)

    def apply() -> None:
        _generator(current_device(), "manual_seed").manual_seed(number)

    _lazy_call(apply, seed=True)


def manual_seed_all(seed: int) -> None:
    """Seeds the generator of every card."""
    number = int(seed)

    def apply() -> None:
        for generator in default_generators():
            generator.manual_seed(number)

    _lazy_call(apply, seed_all=True)


def seed() -> None:
    """Seeds the generator of the current card with a number that cannot be foreseen."""

    def apply() -> None:
        _generator(current_device(), "seed").seed()

    _lazy_call(apply, seed=True)


def seed_all() -> None:
    """Seeds the generators of all cards with one number that cannot be foreseen."""

    def apply() -> None:
        if device_count() == 0:
            return
        first, *others = default_generators()
        number = first.seed()
        for generator in others:
            generator.manual_seed(number)

    _lazy_call(apply, seed_all=True)


def initial_seed() -> int:
    """Returns what the current card's generator was seeded with. Initialises the device."""
    _lazy_init()
    return _generator(current_device(), "initial_seed").initial_seed()
