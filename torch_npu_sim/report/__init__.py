"""Seeing what ran: traces of kernels in simulated time, as objects, tables and trace files."""

from torch_npu_sim.report.coverage import Coverage, coverage
from torch_npu_sim.report.explanation import Explanation
from torch_npu_sim.report.kernel import Kernel, MemorySample
from torch_npu_sim.report.trace import Trace, trace

__all__ = ["Coverage", "Explanation", "Kernel", "MemorySample", "Trace", "coverage", "trace"]
