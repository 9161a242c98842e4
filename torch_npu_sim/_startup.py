"""What happens at import, in its order: check torch, load the extension, register the device."""

import importlib
import os
import sys

import torch
from torch.utils import backend_registration

__all__ = ["__version__", "check_torch_version", "start"]

__version__ = "0.1.0"

# The extension is compiled against torch's C++ interface, which changes from minor to minor.
_TORCH_RELEASE = "2.13"

# `import torch.npu.amp` must find these, not import second copies of them.
_SUBMODULES = ("amp", "amp.autocast_mode", "amp.grad_scaler", "memory", "random", "streams")


def check_torch_version(version: str) -> None:
    """Refuses a torch that the extension was not compiled for.

    Raises:
        ImportError: `version` is not of the release this package was built with.
    """
    if version.split(".")[:2] != _TORCH_RELEASE.split("."):
        raise ImportError(
            f"torch_npu_sim {__version__}: expected torch {_TORCH_RELEASE}, got torch {version}; "
            f"install torch=={_TORCH_RELEASE}.0, or set TORCH_DEVICE_BACKEND_AUTOLOAD=0 "
            "to use torch without the npu device"
        )


def start() -> None:
    """Makes ``npu`` a device of torch. Called once, by the package's import."""
    check_torch_version(str(torch.__version__))
    extension = importlib.import_module("torch_npu_sim._C")
    extension.device_count()  # a wrong NPU_SIM_DEVICES is told here, not by some later call
    extension.initialize()
    backend_registration.rename_privateuse1_backend("npu")
    module = importlib.import_module("torch_npu_sim.npu")
    torch._register_device_module("npu", module)  # type: ignore[no-untyped-call]
    for name in _SUBMODULES:
        sys.modules[f"torch.npu.{name}"] = importlib.import_module(f"torch_npu_sim.npu.{name}")
    backend_registration.generate_methods_for_privateuse1_backend(
        for_tensor=True,
        for_module=True,
        for_packed_sequence=True,
        for_storage=True,
        unsupported_dtype=[
            torch.quint8,
            torch.quint4x2,
            torch.quint2x4,
            torch.qint32,
            torch.qint8,
        ],
    )
    _set_checkpoint_device()
    importlib.import_module("torch_npu_sim.npu.dlpack").install()
    importlib.import_module("torch_npu_sim.compile").arm()
    importlib.import_module("torch_npu_sim.distributed").register()
    drop_in = importlib.import_module("torch_npu_sim.drop_in")
    if drop_in.is_wanted():
        drop_in.put_in_place()
    if os.environ.get("NPU_SIM_CHIP") or os.environ.get("NPU_SIM_FIDELITY"):
        importlib.import_module("torch_npu_sim.presets").apply_environment()


def _set_checkpoint_device() -> None:
    """Makes activation checkpointing save the random state of npu when it sees no tensor."""
    checkpoint = importlib.import_module("torch.utils.checkpoint")
    checkpoint.DefaultDeviceType.set_device_type("npu")
