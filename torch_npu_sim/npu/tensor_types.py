"""The typed tensor classes of old code: torch.npu.FloatTensor and its kin."""

from typing import Any

import torch

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
]


class _TensorType(type):
    """A class of which every npu tensor of one dtype is an instance, and whose calls make one."""

    dtype: torch.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns a tensor on the current npu, from sizes or data, as torch.FloatTensor does."""
        made: torch.Tensor = getattr(torch, cls.__name__)(*args, **kwargs)
        return made.to("npu")

    def __instancecheck__(cls, obj: Any) -> bool:
        """Returns whether `obj` is an npu tensor of the dtype."""
        is_tensor = isinstance(obj, torch.Tensor)
        return is_tensor and obj.device.type == "npu" and obj.dtype == cls.dtype


class BFloat16Tensor(metaclass=_TensorType):
    """Tensors of torch.bfloat16 on npu."""

    dtype = torch.bfloat16


class BoolTensor(metaclass=_TensorType):
    """Tensors of torch.bool on npu."""

    dtype = torch.bool


class ByteTensor(metaclass=_TensorType):
    """Tensors of torch.uint8 on npu."""

    dtype = torch.uint8


class CharTensor(metaclass=_TensorType):
    """Tensors of torch.int8 on npu."""

    dtype = torch.int8


class DoubleTensor(metaclass=_TensorType):
    """Tensors of torch.float64 on npu."""

    dtype = torch.float64


class FloatTensor(metaclass=_TensorType):
    """Tensors of torch.float32 on npu."""

    dtype = torch.float32


class HalfTensor(metaclass=_TensorType):
    """Tensors of torch.float16 on npu."""

    dtype = torch.float16


class IntTensor(metaclass=_TensorType):
    """Tensors of torch.int32 on npu."""

    dtype = torch.int32


class LongTensor(metaclass=_TensorType):
    """Tensors of torch.int64 on npu."""

    dtype = torch.int64


class ShortTensor(metaclass=_TensorType):
    """Tensors of torch.int16 on npu."""

    dtype = torch.int16
