"""Devices: how many there are, which is current, waiting for one."""

import os
import warnings
from types import TracebackType
from typing import Any

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.lifecycle import _lazy_init

__all__ = [
    "DeviceLike",
    "can_device_access_peer",
    "current_blas_handle",
    "current_device",
    "device",
    "device_count",
    "device_of",
    "get_device_name",
    "ipc_collect",
    "is_available",
    "set_device",
    "synchronize",
]

DeviceLike = torch.device | int | str | None


def device_count() -> int:
    """Returns the number of simulated cards: NPU_SIM_DEVICES, 8 by default."""
    return _C.device_count()


def is_available() -> bool:
    """Returns whether there is a card. Never raises."""
    return device_count() > 0


def current_device() -> int:
    """Returns the index of the calling thread's current device."""
    _lazy_init()
    return _C.current_device()


def set_device(device: DeviceLike) -> None:
    """Makes `device` current for the calling thread; a negative index changes nothing.

    Raises:
        RuntimeError: there is no such card.
    """
    index = _index_of(device, optional=False)
    if index >= 0:
        _lazy_init()
        _C.set_device(_existing(index, "set_device"))


def synchronize(device: DeviceLike = None) -> None:
    """Waits until everything queued on the device has ended: the host's clock moves there."""
    _lazy_init()
    _C.synchronize_device(_existing(_index_of(device), "synchronize"))


def get_device_name(device: DeviceLike = None) -> str:
    """Returns the SoC name, such as "Ascend950PR_9579"."""
    _checked_index(device)
    return str(_C.chip()["soc_name"])


def can_device_access_peer(device: DeviceLike, peer_device: DeviceLike) -> bool:
    """Returns whether the two cards, which must differ, can read each other's memory.

    Raises:
        AssertionError: one of them does not exist.
    """
    return _checked_index(device) != _checked_index(peer_device)


def ipc_collect() -> None:
    """Frees memory shared with ended processes: never any here, as no memory can be shared."""


def current_blas_handle() -> None:
    """Warns that an npu has no blas handle, as torch_npu does."""
    warnings.warn("NPU does not use blas handle.", stacklevel=2)


class device:  # noqa: N801 (torch's name)
    """Context manager that makes a device current; a negative index or None changes nothing."""

    def __init__(self, device: Any) -> None:
        """Takes an index, a torch.device, a string or another such object."""
        self.idx = -1 if device is None else _index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        """Makes the device current."""
        self.prev_idx = _exchange_device(self.idx)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Makes the previous device current again."""
        self.idx = _maybe_exchange_device(self.prev_idx)


class device_of(device):  # noqa: N801 (torch's name)
    """Context manager that makes the device of a tensor or storage current, if it is on npu."""

    def __init__(self, obj: Any) -> None:
        """Takes a tensor or a storage."""
        super().__init__(obj.get_device() if obj.device.type == "npu" else -1)


def _exchange_device(index: int) -> int:
    """Makes `index` current unless it is negative; returns the previous one, or -1."""
    if index < 0:
        return -1
    _lazy_init()
    return _C.exchange_device(_existing(index, "device"))


def _maybe_exchange_device(index: int) -> int:
    """As _exchange_device; a simulated device has no context whose creation could be spared."""
    return _exchange_device(index)


def _index_of(device: Any, optional: bool = True) -> int:
    """Returns the index that `device` means; the current device's if it names none.

    Raises:
        ValueError: it is of another type, or names no index and `optional` is false.
    """
    if isinstance(device, bool) or not isinstance(device, int | str | torch.device | None):
        inner = getattr(device, "idx", None)
        if not isinstance(inner, int):
            raise ValueError(
                f"Expected a torch.device with a specified index or an integer, but got:{device}"
            )
        return inner
    if isinstance(device, int):
        return device
    index: int | None = None
    if device is not None:
        wanted = torch.device(device)
        if wanted.type != "npu":
            raise ValueError(f"Expected a npu device, but got: {device}")
        index = wanted.index
    if index is None and not optional:
        raise ValueError(
            f"Expected a torch.device with a specified index or an integer, but got:{device}"
        )
    return current_device() if index is None else index


def _existing(index: int, caller: str) -> int:
    """Returns `index` if there is such a card.

    Raises:
        RuntimeError: there is not.
    """
    if not 0 <= index < device_count():
        limit = os.environ.get("NPU_SIM_DEVICES", "the default")
        raise RuntimeError(
            f"torch.npu.{caller}: NPU error: invalid device ordinal: expected an index in "
            f"[0, {device_count()}), got {index}; NPU_SIM_DEVICES ({limit}) sets how many there are"
        )
    return index


def _checked_index(device: DeviceLike) -> int:
    """Returns the index, checked as torch.cuda's queries of properties do.

    Raises:
        AssertionError: there is no such card.
    """
    _lazy_init()
    index = _index_of(device)
    if not 0 <= index < device_count():
        raise AssertionError(f"Invalid device id: expected [0, {device_count()}), got {index}")
    return index
