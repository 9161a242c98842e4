"""Storage formats of tensors on the card, and its number formats, by torch_npu's names."""

from enum import IntEnum

import torch

__all__ = ["DTYPES", "Format", "get_npu_format"]


class Format(IntEnum):
    """A storage format; the numbers are ACL's (torch_npu/npu/_format.py of Ascend/pytorch)."""

    UNDEFINED = -1
    NCHW = 0
    NHWC = 1
    ND = 2
    NC1HWC0 = 3
    FRACTAL_Z = 4
    NC1HWC0_C04 = 12
    HWCN = 16
    NDHWC = 27
    FRACTAL_NZ = 29
    NCDHW = 30
    NDC1HWC0 = 32
    FRACTAL_Z_3D = 33
    NC = 35
    NCL = 47
    FRACTAL_NZ_C0_16 = 50
    FRACTAL_NZ_C0_32 = 51
    FRACTAL_NZ_C0_2 = 52
    FRACTAL_NZ_C0_4 = 53
    FRACTAL_NZ_C0_8 = 54

    def __str__(self) -> str:
        """Returns the bare name, as torch_npu's does."""
        return self.name


def get_npu_format(tensor: torch.Tensor) -> Format:
    """Returns the storage format of an npu tensor."""
    return Format(torch.ops.npu.get_npu_format(tensor))


_ACL_OFFSET = 256
# Names of torch_npu/csrc/custom_dtype/Init.cpp, numbers of aclDataType (acl_base.h).
_ACL_DTYPES = {
    "float32": 0,
    "float16": 1,
    "int8": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 6,
    "uint16": 7,
    "uint32": 8,
    "int64": 9,
    "uint64": 10,
    "float64": 11,
    "bool": 12,
    "string": 13,
    "complex64": 16,
    "complex128": 17,
    "bfloat16": 27,
    "int4": 29,
    "uint1": 30,
    "complex32": 33,
    "hifloat8": 34,
    "float8_e5m2": 35,
    "float8_e4m3fn": 36,
    "float8_e8m0fnu": 37,
    "float6_e3m2": 38,
    "float6_e2m3": 39,
    "float4_e2m1fn_x2": 40,
    "float4_e1m2fn_x2": 41,
}
# What operators take as `dst_type` and its kin; numbers below 256 are torch's own dtypes there.
DTYPES = {name: _ACL_OFFSET + number for name, number in _ACL_DTYPES.items()}
