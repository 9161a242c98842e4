"""Helpers of torch_npu's tests: which card, inputs on it and on the host, who may run."""

import contextlib
import functools
import os
import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from torch_npu_sim import npu
from torch_npu_sim.npu.legacy_names import _is_gte_cann_version

__all__ = [
    "SkipIfNotGteCANNVersion",
    "SupportedDevices",
    "check_operators_in_prof",
    "create_common_tensor",
    "create_dtype_tensor",
    "freeze_rng_state",
    "get_npu_device",
    "set_npu_device",
]


def get_npu_device() -> str:
    """Returns the card that tests run on: SET_NPU_DEVICE, 0 by default."""
    return f"npu:{os.environ.get('SET_NPU_DEVICE', '0')}"


def set_npu_device() -> str:
    """Makes that card current and returns its name."""
    npu.set_device(get_npu_device())
    return get_npu_device()


@contextlib.contextmanager
def freeze_rng_state() -> Iterator[None]:
    """Gives the host's generator its state back at the end."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def create_common_tensor(
    item: Sequence[Any],
    minValue: float,  # noqa: N803 (torch_npu's name)
    maxValue: float,  # noqa: N803
    device: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the same random numbers on the host and on the card.

    `item` is (numpy dtype, storage format or -1, shape).
    """
    dtype, storage_format, shape = item
    values = torch.from_numpy(np.random.uniform(minValue, maxValue, shape).astype(dtype))
    return values, _on_card(values, storage_format, device)


def create_dtype_tensor(
    shape: Sequence[int],
    dtype: torch.dtype,
    npu_format: int = -1,
    min_value: int = -5,
    max_value: int = 5,
    no_zero: bool = False,
    device: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns random numbers of a torch dtype on the host and on the card, int32 for others."""
    values: Any
    if dtype == torch.bool:
        values = np.random.randint(0, 2, size=shape).astype(bool)
    elif dtype in (torch.half, torch.float):
        exact = np.float16 if dtype == torch.half else np.float32
        values = np.random.uniform(min_value, max_value, shape).astype(exact)
    else:
        values = np.random.randint(min_value, max_value + 1, size=shape).astype(np.int32)
    if no_zero:
        values = np.where(values != 0, values, np.ones_like(values))
    host = torch.from_numpy(values)
    return host, _on_card(host, npu_format if host.is_floating_point() else -1, device)


def _on_card(values: torch.Tensor, storage_format: int, device: str | None) -> torch.Tensor:
    moved = values.to(device or get_npu_device())
    if storage_format == -1:
        return moved
    cast: torch.Tensor = torch.ops.npu.npu_format_cast(moved, storage_format)
    return cast


def check_operators_in_prof(
    expected_operators: Sequence[str], prof: Any, unexpected_operators: Sequence[str] = ()
) -> bool:
    """Returns whether a profile holds all the expected operators and none of the others."""
    seen = {event.key.replace("cached_", "") for event in prof.key_averages()}
    return seen.issuperset(expected_operators) and seen.isdisjoint(unexpected_operators)


def _series(name: str) -> str:
    """Returns the series of a SoC as torch_npu's tests name it: Ascend910B, Ascend950 ..."""
    if name.startswith("Ascend950"):
        return "Ascend950"
    return name[:12] if name.startswith("Ascend910_") else name[:10]


class SupportedDevices:
    """Decorates a test: it is skipped on cards of other series."""

    def __init__(self, supported_devices: list[str]) -> None:
        """Takes names of series."""
        self.supported_devices = supported_devices

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the guarded test."""

        @functools.wraps(test)
        def guarded(case: Any, *args: Any, **kwargs: Any) -> Any:
            series = _series(npu.get_device_name(0))
            if series not in self.supported_devices:
                raise unittest.SkipTest(
                    f"Only run on {self.supported_devices!r}, current device is {series}."
                )
            return test(case, *args, **kwargs)

        return guarded


class SkipIfNotGteCANNVersion:
    """Decorates a test: it is skipped with an older CANN."""

    def __init__(self, base_version: str, module: str = "CANN") -> None:
        """Takes a version and the module of CANN that it is of."""
        self.base_version = base_version
        self.module = module

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the guarded test."""

        @functools.wraps(test)
        def guarded(case: Any, *args: Any, **kwargs: Any) -> Any:
            if not _is_gte_cann_version(self.base_version, self.module):
                raise unittest.SkipTest(f"Only run on CANN {self.base_version} or greater.")
            return test(case, *args, **kwargs)

        return guarded
