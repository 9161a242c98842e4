"""torch_npu.dynamo: the compilers for graphs of torch_npu, as torchair and npugraph_ex."""

import importlib
from types import ModuleType

__all__: list[str] = []


def __getattr__(name: str) -> ModuleType:
    """Finds the two compilers, which are packages of their own."""
    if name in ("torchair", "npugraph_ex"):
        return importlib.import_module(name)
    raise AttributeError(f"module 'torch_npu.dynamo' has no attribute {name!r}")
