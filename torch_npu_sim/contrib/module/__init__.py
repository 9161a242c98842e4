"""``torch_npu.contrib.module``."""

from torch_npu_sim.contrib.module.attention import MultiheadAttention
from torch_npu_sim.contrib.module.dropout import NpuCachedDropout, NpuDropPath, NpuFairseqDropout
from torch_npu_sim.contrib.module.layers import (
    BiLSTM,
    ChannelShuffle,
    FastBatchNorm1d,
    FastBatchNorm2d,
    FastBatchNorm3d,
    FastSyncBatchNorm,
    Focus,
    LabelSmoothingCrossEntropy,
    Mish,
    Prefetcher,
    SiLU,
    Swish,
)
from torch_npu_sim.contrib.module.npu_modules import DropoutWithByteMask
from torch_npu_sim.contrib.module.quant import (
    LinearA8W8Quant,
    LinearQuant,
    LinearWeightQuant,
    QuantConv2d,
)
from torch_npu_sim.contrib.module.regions import DCNv2, ModulatedDeformConv, PSROIPool, ROIAlign

__all__ = [
    "BiLSTM",
    "ChannelShuffle",
    "DCNv2",
    "DropoutWithByteMask",
    "FastBatchNorm1d",
    "FastBatchNorm2d",
    "FastBatchNorm3d",
    "FastSyncBatchNorm",
    "Focus",
    "LabelSmoothingCrossEntropy",
    "LinearA8W8Quant",
    "LinearQuant",
    "LinearWeightQuant",
    "Mish",
    "ModulatedDeformConv",
    "MultiheadAttention",
    "NpuCachedDropout",
    "NpuDropPath",
    "NpuFairseqDropout",
    "PSROIPool",
    "Prefetcher",
    "QuantConv2d",
    "ROIAlign",
    "SiLU",
    "Swish",
]
