"""The process group of HCCL, as far as torch_npu_sim.distributed has it."""

from torch_npu_sim.distributed import ParallelStore, ProcessGroupHCCL

__all__ = ["ParallelStore", "ProcessGroupHCCL"]
