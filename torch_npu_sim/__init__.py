"""A PyTorch device ``npu``: right values from the host, and the time an Ascend 950PR would take.

Importing this package (or, through the ``torch.backends`` entry point, just ``torch``) makes
``npu`` a device like any other::

    import torch
    import torch_npu_sim

    with torch_npu_sim.trace() as trace:
        x = torch.randn(1024, 1024, device="npu")
        y = x @ x
    print(trace.table())
"""

from typing import Any


def _autoload() -> None:
    """Entry point of ``torch.backends``: torch calls it at the end of its own import.

    Importing this package has done the work. When this package is what imports torch, torch calls
    back before the work is done; the outer import then finishes it. Hence it stands before torch
    is imported.
    """


from torch_npu_sim import _startup  # noqa: E402

_startup.start()

import torch  # noqa: E402

from torch_npu_sim import _operators, npu, optim  # noqa: E402
from torch_npu_sim._operators import enable_custom_ops  # noqa: E402
from torch_npu_sim._startup import __version__  # noqa: E402
from torch_npu_sim.drop_in import install_as_torch_npu  # noqa: E402
from torch_npu_sim.fidelity import flush_l2, get_fidelity, set_fidelity  # noqa: E402
from torch_npu_sim.presets import Chip, Parameter, chips, get_chip, set_chip  # noqa: E402
from torch_npu_sim.report import Coverage, Kernel, MemorySample, Trace, coverage, trace  # noqa: E402


def __getattr__(name: str) -> Any:
    """Finds the operators of ``torch_npu``, which are in ``torch.ops.npu``: ``npu_swiglu`` ..."""
    if name in _operators.names():
        return getattr(torch.ops.npu, name)
    raise AttributeError(f"module 'torch_npu_sim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_operators.names()})


__all__ = [
    "Chip",
    "Coverage",
    "Kernel",
    "MemorySample",
    "Parameter",
    "Trace",
    "__version__",
    "chips",
    "coverage",
    "enable_custom_ops",
    "flush_l2",
    "get_chip",
    "get_fidelity",
    "install_as_torch_npu",
    "npu",
    "optim",
    "set_chip",
    "set_fidelity",
    "trace",
]
