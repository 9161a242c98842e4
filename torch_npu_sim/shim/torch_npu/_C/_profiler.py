"""The activities of torch_npu's profiler."""

from torch_npu_sim.profiler import ProfilerActivity

__all__ = ["ProfilerActivity"]
