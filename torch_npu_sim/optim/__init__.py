"""The fused optimizers of ``torch_npu.optim``: all parameters of a dtype lie in one tensor.

A step is then a few kernels over everything, however many parameters there are. Where torch has the
same optimizer, the values are the same.
"""

from torch_npu_sim.optim.adadelta import NpuFusedAdadelta
from torch_npu_sim.optim.adam import NpuFusedAdam, NpuFusedAdamW
from torch_npu_sim.optim.adamp import NpuFusedAdamP
from torch_npu_sim.optim.base import NpuFusedOptimizerBase
from torch_npu_sim.optim.bert_adam import NpuFusedBertAdam
from torch_npu_sim.optim.lamb import NpuFusedLamb
from torch_npu_sim.optim.rmsprop import NpuFusedRMSprop, NpuFusedRMSpropTF
from torch_npu_sim.optim.sgd import NpuFusedSGD

__all__ = [
    "NpuFusedAdadelta",
    "NpuFusedAdam",
    "NpuFusedAdamP",
    "NpuFusedAdamW",
    "NpuFusedBertAdam",
    "NpuFusedLamb",
    "NpuFusedOptimizerBase",
    "NpuFusedRMSprop",
    "NpuFusedRMSpropTF",
    "NpuFusedSGD",
]
