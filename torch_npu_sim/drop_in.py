"""`import torch_npu`: this package under the real one's name, for those who ask for it.

The folder `shim` holds the packages torch_npu, torchair and npugraph_ex. Asking appends it to the
end of sys.path, so that a real installation anywhere on the path is found first.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

__all__ = ["VARIABLE", "install_as_torch_npu", "is_wanted"]

# Set to anything but 0, it puts the shim in place when the device is registered.
VARIABLE = "NPU_SIM_SHIM"
FOLDER = str(Path(__file__).parent / "shim")


def is_wanted() -> bool:
    """Returns whether the environment asks for the shim."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def install_as_torch_npu() -> None:
    """Makes `import torch_npu` find this package, here and in processes started from here.

    torchair and npugraph_ex come with it. A second call does nothing.

    Raises:
        ImportError: a real torch_npu is installed.
    """
    real = _real_installation()
    if real is not None:
        raise ImportError(
            f"install_as_torch_npu: expected no torch_npu, got the one in {real}; "
            "uninstall it, or use torch_npu_sim by its own name"
        )
    os.environ[VARIABLE] = "1"
    put_in_place()


def put_in_place() -> None:
    """Makes the shim importable, behind everything else on the path."""
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())


def _real_installation() -> str | None:
    """Returns where a torch_npu lies that is not the shim, or None."""
    loaded = sys.modules.get("torch_npu")
    if loaded is not None:
        origin = getattr(loaded, "__file__", None) or "memory"
        return None if origin.startswith(FOLDER) else origin
    spec = PathFinder.find_spec("torch_npu", [entry for entry in sys.path if entry != FOLDER])
    return None if spec is None else spec.origin or "a folder without __init__.py"


# Modules of torch_npu that are modules of this package, with all that lies below them.
_PACKAGES = {
    f"torch_npu.{name}": f"torch_npu_sim.{name}"
    for name in ("contrib", "distributed", "npu", "optim", "profiler")
}
# Those whose name differs.
_MODULES = {
    "torch_npu.npu._backends": "torch_npu_sim.npu.properties",
    "torch_npu.npu._format": "torch_npu_sim.formats",
    "torch_npu.npu.autocast_utils": "torch_npu_sim.npu.autocast",
    "torch_npu.npu.graphs": "torch_npu_sim.npu.later",
    "torch_npu.npu.utils": "torch_npu_sim.npu.legacy_names",
    "torch_npu.optim.npu_fused_adadelta": "torch_npu_sim.optim.adadelta",
    "torch_npu.optim.npu_fused_adam": "torch_npu_sim.optim.adam",
    "torch_npu.optim.npu_fused_adamp": "torch_npu_sim.optim.adamp",
    "torch_npu.optim.npu_fused_adamw": "torch_npu_sim.optim.adam",
    "torch_npu.optim.npu_fused_bert_adam": "torch_npu_sim.optim.bert_adam",
    "torch_npu.optim.npu_fused_lamb": "torch_npu_sim.optim.lamb",
    "torch_npu.optim.npu_fused_optim_base": "torch_npu_sim.optim.base",
    "torch_npu.optim.npu_fused_rmsprop": "torch_npu_sim.optim.rmsprop",
    "torch_npu.optim.npu_fused_rmsprop_tf": "torch_npu_sim.optim.rmsprop",
    "torch_npu.optim.npu_fused_sgd": "torch_npu_sim.optim.sgd",
    "torch_npu.utils.hif8_tensor": "torch_npu_sim.hifloat8",
}


def _own_name(name: str) -> str | None:
    """Returns the name that the module of torch_npu has in this package, or None."""
    if name in _MODULES:
        return _MODULES[name]
    for package, own in _PACKAGES.items():
        if name == package or name.startswith(package + "."):
            return own + name.removeprefix(package)
    return None


class _AliasFinder(MetaPathFinder):
    """Finds modules of torch_npu as the modules that they are in this package."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = _own_name(name)
        if own is None or importlib.util.find_spec(own) is None:
            return None
        return ModuleSpec(name, _AliasLoader(own))


class _AliasLoader(Loader):
    """Loads a module by its own name; it keeps its own specification."""

    def __init__(self, own: str) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.own)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own_spec
