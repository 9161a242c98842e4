"""DLPack for npu tensors: torch names a renamed backend's device only by its unrenamed name."""

import enum
import functools

import torch
from torch.utils.dlpack import DLDeviceType

__all__ = ["install"]


def install() -> None:
    """Makes Tensor.__dlpack_device__ know npu: kDLExtDev, as torch does for "privateuse1"."""
    of_torch = torch.Tensor.__dlpack_device__

    @functools.wraps(of_torch)
    def __dlpack_device__(self: torch.Tensor) -> tuple[enum.IntEnum, int]:  # noqa: N807
        if self.device.type == "npu":
            return DLDeviceType.kDLExtDev, self.device.index
        return of_torch(self)

    torch.Tensor.__dlpack_device__ = __dlpack_device__  # type: ignore[method-assign]
