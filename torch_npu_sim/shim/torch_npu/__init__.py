"""torch_npu, as torch_npu_sim simulates it: the names of release 2.13 for code that imports them.

A plain module: attributes may be set and replaced, as on the real one. `torch_npu.npu` is
`torch.npu`, and the other modules are those of torch_npu_sim.
"""

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

from torch_npu_sim import _operators, drop_in, formats
from torch_npu_sim.hifloat8 import HiFloat8Tensor
from torch_npu_sim.npu.legacy_names import _erase_stream as erase_stream

__all__ = ["HiFloat8Tensor", "erase_stream", "matmul_checksum"]

# Imported without being asked for, from the path's end: the aliases must be there all the same.
drop_in.put_in_place()

__version__ = "2.13.0"

from torch_npu import _C as _C  # noqa: E402
from torch_npu import contrib as contrib  # noqa: E402
from torch_npu import distributed as distributed  # noqa: E402
from torch_npu import npu as npu  # noqa: E402
from torch_npu import optim as optim  # noqa: E402
from torch_npu import profiler as profiler  # noqa: E402
from torch_npu import utils as utils  # noqa: E402
from torch_npu.asd import _matmul_checksum as matmul_checksum  # noqa: E402

importlib.import_module("torch_npu.npu.utils")  # reached as an attribute too


def _deprecated(name: str) -> Callable[..., Any]:
    """Returns what `torch.npu_swiglu` is: a function that says where the operator has moved."""

    @functools.wraps(getattr(torch.ops.npu, name))
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError(
            f"torch.{name} is deprecated and will be removed in future version. "
            f"Use torch_npu.{name} instead."
        )

    return refuse


def _export_operators() -> None:
    for name in _operators.names():
        globals()[name] = getattr(torch.ops.npu, name)
        if name.startswith("npu_"):
            setattr(torch, name, _deprecated(name))
            __all__.append(name)


_export_operators()
globals().update(formats.DTYPES)
Format = formats.Format
get_npu_format = formats.get_npu_format

if os.environ.get("TORCH_TRANSFER_TO_NPU", "0") == "1":
    importlib.import_module("torch_npu_sim.contrib.transfer_to_npu")
