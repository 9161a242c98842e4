"""What a card is: properties, capability and version, all read from the chip being simulated."""

import os
import uuid
from dataclasses import dataclass

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _checked_index

__all__ = [
    "DeviceProperties",
    "get_device_capability",
    "get_device_properties",
    "get_soc_version",
    "is_bf16_supported",
]

# torch_npu numbers SoCs by generation; code branches on `>= 260` for the 950.
_SOC_VERSIONS = {"ascend950": 260, "ascend910_93": 250, "ascend910b": 220}
_UNSUPPORTED_SOC = -1


@dataclass(frozen=True)
class DeviceProperties:
    """The fields of torch_npu's _NPUDeviceProperties.

    Those that only a GPU has (warp size, registers, ...) are what torch_npu gives: 0 or empty.
    """

    name: str
    total_memory: int  # bytes
    cube_core_num: int
    vector_core_num: int
    L2_cache_size: int  # bytes
    major: int
    minor: int
    is_multi_gpu_board: bool
    is_integrated: bool
    multi_processor_count: int
    max_threads_per_multi_processor: int
    warp_size: int
    regs_per_multiprocessor: int
    gcnArchName: str  # noqa: N815 (torch's name)
    uuid: uuid.UUID


def get_device_properties(device: DeviceLike = None) -> DeviceProperties:
    """Returns the properties of a card.

    Raises:
        AssertionError: there is no such card.
    """
    index = _checked_index(device)
    chip = _C.chip()
    name = str(chip["soc_name"])
    return DeviceProperties(
        name=name,
        total_memory=chip["memory_bytes"],
        cube_core_num=chip["cube_cores"],
        vector_core_num=chip["vector_cores"],
        L2_cache_size=chip["l2_bytes"],
        major=0,
        minor=0,
        is_multi_gpu_board=False,
        is_integrated=False,
        multi_processor_count=chip["vector_cores"],
        max_threads_per_multi_processor=0,
        warp_size=0,
        regs_per_multiprocessor=0,
        gcnArchName="",
        uuid=uuid.uuid5(uuid.NAMESPACE_OID, f"{name}:{index}"),
    )


def get_device_capability(device: DeviceLike = None) -> tuple[int, int] | None:
    """Returns None, or what TORCH_NPU_DEVICE_CAPABILITY says ("major.minor"), as torch_npu does.

    Raises:
        ValueError: the variable is not of that form.
    """
    _checked_index(device)
    text = os.environ.get("TORCH_NPU_DEVICE_CAPABILITY")
    if not text:
        return None
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise ValueError(
            f"TORCH_NPU_DEVICE_CAPABILITY: expected MAJOR.MINOR such as 9.5, got {text!r}"
        )
    return int(major), int(minor)


def get_soc_version() -> int:
    """Returns torch_npu's number of the SoC: 260 for every Ascend 950, -1 for another maker's."""
    name = str(_C.chip()["soc_name"]).lower()
    for prefix, version in _SOC_VERSIONS.items():
        if name.startswith(prefix):
            return version
    return _UNSUPPORTED_SOC


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Returns whether the card computes in bfloat16, as all simulated chips do."""
    del including_emulation
    return _C.device_count() > 0
