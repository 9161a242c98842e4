"""Options of torch_npu: kept and reported. None changes values or simulated time.

What a real card does with an option (which kernel is compiled, which format is private) has no
counterpart here. The exception that would change values, HF32, says once that it does not.
"""

import os
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from torch_npu_sim.npu.core_limits import (
    get_device_limit,
    get_stream_limit,
    reset_stream_limit,
    set_device_limit,
    set_stream_limit,
)
from torch_npu_sim.npu.lifecycle import _lazy_init

__all__ = [
    "CubeMathType",
    "config",
    "conv",
    "finalize_dump",
    "get_device_limit",
    "get_mm_bmm_format_nd",
    "get_stream_limit",
    "init_dump",
    "is_jit_compile_false",
    "matmul",
    "reset_stream_limit",
    "set_aoe",
    "set_compile_mode",
    "set_device_limit",
    "set_dump",
    "set_mm_bmm_format_nd",
    "set_op_timeout_ms",
    "set_option",
    "set_stream_limit",
    "use_compatible_impl",
    "are_compatible_impl_enabled",
]

_options: dict[str, str] = {"jitCompile": "disable"}

# What torch_npu refuses; other names and values pass, as there.
_CHOICES: dict[str, Callable[[str], bool]] = {
    "ACL_PRECISION_MODE": ("allow_fp32_to_fp16", "must_keep_origin_dtype").__contains__,
    "ACL_OP_SELECT_IMPL_MODE": ("high_performance", "high_precision").__contains__,
    "ACL_AICORE_NUM": lambda value: value.isdigit() and 1 <= int(value) <= 32,
    "ACL_OP_DEBUG_LEVEL": ("0", "1", "2", "3", "4").__contains__,
    "ACL_OP_COMPILER_CACHE_MODE": ("disable", "enable", "force").__contains__,
}


class CubeMathType(IntEnum):
    """What the cube may do with fp32 operands; the numbers are aclnn's."""

    KEEP_DTYPE = 0
    ALLOW_FP32_DOWN_PRECISION = 1
    USE_FP16 = 2
    USE_HF32 = 3
    USE_FP32_ADD = 4
    FORCE_GRP_ACC_FOR_FP32 = 4


def set_option(option: dict[str, Any]) -> None:
    """Keeps options by name.

    Raises:
        TypeError: `option` is no dict.
        ValueError: a value is not one of those that the option has.
    """
    if not isinstance(option, dict):
        raise TypeError(f"set_option: expected option as a dict, got {type(option).__name__}")
    texts = {name: str(value) for name, value in option.items()}
    for name, text in texts.items():
        if name in _CHOICES and not _CHOICES[name](text):
            raise ValueError(f"set_option: expected another value for {name}, got {text}")
    _options.update(texts)


def get_option(name: str) -> str | None:
    """Returns what `set_option` or its kin have set, or None."""
    return _options.get(name)


def set_compile_mode(jit_compile: bool = False) -> None:
    """Keeps whether operators are compiled just in time. Here they never are."""
    _options["jitCompile"] = "enable" if jit_compile else "disable"


def is_jit_compile_false() -> bool:
    """Returns whether operators are not compiled just in time."""
    _lazy_init()
    return _options["jitCompile"] == "disable"


def set_mm_bmm_format_nd(is_nd: bool = True) -> None:
    """Keeps whether products take their operands in the plain format."""
    _options["MM_BMM_ND_ENABLE"] = "enable" if is_nd else "disable"


def get_mm_bmm_format_nd() -> bool:
    """Returns whether products take their operands in the plain format: True by default."""
    return _options.get("MM_BMM_ND_ENABLE", "enable") == "enable"


def set_aoe(dump_path: str) -> None:
    """Makes the folder that tuning would write its graphs to. Nothing is tuned."""
    os.makedirs(dump_path, exist_ok=True)
    _options.update(autotune="enable", autotunegraphdumppath=dump_path)


def init_dump() -> None:
    """Keeps that operators' data is to be written out. Nothing is written."""
    _options["mdldumpswitch"] = "enable"


def set_dump(cfg_file: str) -> None:
    """Keeps the configuration of such a dump.

    Raises:
        AssertionError: there is no such file.
    """
    if not os.path.exists(cfg_file):
        raise AssertionError(f"set_dump: expected cfg_file as the path of a file, got {cfg_file}")
    _options["mdldumpconfigpath"] = os.path.realpath(cfg_file)


def finalize_dump() -> None:
    """Keeps that operators' data is not to be written out."""
    _options["mdldumpswitch"] = "disable"


def set_op_timeout_ms(timeout: int) -> None:
    """Keeps the time after which the card would give an operator up. Here none ever hangs.

    Raises:
        TypeError: `timeout` is no int.
        ValueError: it is not positive.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int):
        raise TypeError(f"set_op_timeout_ms: expected an int, got {type(timeout).__name__}")
    if timeout <= 0:
        raise ValueError(f"set_op_timeout_ms: expected a positive time, got {timeout}")
    _options["op_timeout_ms"] = str(timeout)


def use_compatible_impl(is_enable: bool) -> None:
    """Keeps whether kernels that follow torch's to the letter are preferred; all here do."""
    _options["TORCH_NPU_USE_COMPATIBLE_IMPL"] = "1" if is_enable else "0"


def are_compatible_impl_enabled() -> bool:
    """Returns what `use_compatible_impl` set, or the variable TORCH_NPU_USE_COMPATIBLE_IMPL."""
    name = "TORCH_NPU_USE_COMPATIBLE_IMPL"
    return _options.get(name, os.environ.get(name)) == "1"


class _Config:
    """``torch.npu.config``: whether operators may keep tensors in the cube's private formats."""

    @property
    def allow_internal_format(self) -> bool:
        return _options.get("ALLOW_INTERNAL_FORMAT") == "enable"

    @allow_internal_format.setter
    def allow_internal_format(self, value: bool) -> None:
        _options["ALLOW_INTERNAL_FORMAT"] = "enable" if value else "disable"


def _keep_hf32(option: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"allow_hf32: expected a bool, got {type(value).__name__}")
    if value:
        warnings.warn(
            f"torch_npu_sim: {option} is kept, but fp32 products are computed and timed in fp32",
            stacklevel=3,
        )
    _options[option] = "enable" if value else "disable"


class _Matmul:
    """``torch.npu.matmul``: what the cube may do with fp32 products."""

    @property
    def allow_hf32(self) -> bool:
        return _options.get("ALLOW_MATMUL_HF32") == "enable"

    @allow_hf32.setter
    def allow_hf32(self, value: bool) -> None:
        _keep_hf32("ALLOW_MATMUL_HF32", value)

    @property
    def cube_math_type(self) -> CubeMathType | None:
        kept = _options.get("CUBE_MATH_TYPE")
        return None if kept is None else CubeMathType(int(kept))

    @cube_math_type.setter
    def cube_math_type(self, value: CubeMathType) -> None:
        if not isinstance(value, CubeMathType):
            raise TypeError(f"cube_math_type: expected a CubeMathType, got {type(value).__name__}")
        _options["CUBE_MATH_TYPE"] = str(value.value)


class _Conv:
    """``torch.npu.conv``: the same for convolutions. On by default, as on the card.

    The default has no effect either: convolutions of fp32 are computed and timed in fp32.
    """

    @property
    def allow_hf32(self) -> bool:
        return _options.get("ALLOW_CONV_HF32", "enable") == "enable"

    @allow_hf32.setter
    def allow_hf32(self, value: bool) -> None:
        _keep_hf32("ALLOW_CONV_HF32", value)


config = _Config()
matmul = _Matmul()
conv = _Conv()
