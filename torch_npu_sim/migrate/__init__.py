"""`npu-sim migrate`: reads a CUDA project without running it, and tells what moves to npu."""

from torch_npu_sim.migrate.findings import Finding, Kind, Report
from torch_npu_sim.migrate.project import scan

__all__ = ["Finding", "Kind", "Report", "scan"]
