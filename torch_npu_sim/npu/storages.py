"""The typed storage classes of old code: torch.npu.FloatStorage and its kin."""

from typing import Any

import torch
from torch._utils import classproperty
from torch.storage import _LegacyStorage

__all__ = [
    "BFloat16Storage",
    "BoolStorage",
    "ByteStorage",
    "CharStorage",
    "DoubleStorage",
    "FloatStorage",
    "HalfStorage",
    "IntStorage",
    "LongStorage",
    "ShortStorage",
]


def _storage_type(name: str, dtype: torch.dtype) -> Any:
    """Returns the class of storages of `dtype` on npu; torch reads the device off its module."""

    def kept(_cls: type) -> torch.dtype:
        return dtype

    known = classproperty(kept)  # type: ignore[no-untyped-call]
    doc = f"Storages of {dtype} on npu."
    made = type(name, (_LegacyStorage,), {"dtype": known, "_dtype": known, "__doc__": doc})
    made.__module__ = "torch.npu"
    torch._storage_classes.add(made)
    return made


BFloat16Storage = _storage_type("BFloat16Storage", torch.bfloat16)
BoolStorage = _storage_type("BoolStorage", torch.bool)
ByteStorage = _storage_type("ByteStorage", torch.uint8)
CharStorage = _storage_type("CharStorage", torch.int8)
DoubleStorage = _storage_type("DoubleStorage", torch.float64)
FloatStorage = _storage_type("FloatStorage", torch.float32)
HalfStorage = _storage_type("HalfStorage", torch.float16)
IntStorage = _storage_type("IntStorage", torch.int32)
LongStorage = _storage_type("LongStorage", torch.int64)
ShortStorage = _storage_type("ShortStorage", torch.int16)
