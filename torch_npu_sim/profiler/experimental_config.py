"""What to measure on the card. Names and values are torch_npu's (experimental_config.py there)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = [
    "AiCMetrics",
    "ExportType",
    "HostSystem",
    "ProfilerLevel",
    "_ExperimentalConfig",
    "supported_ai_core_metrics",
    "supported_export_type",
    "supported_profiler_level",
]


class ProfilerLevel:
    """How much is recorded of each kernel."""

    Level0 = "Level0"
    Level1 = "Level1"
    Level2 = "Level2"
    Level_none = "Level_none"


class AiCMetrics:
    """Which counters of the cores are read."""

    PipeUtilization = "ACL_AICORE_PIPE_UTILIZATION"
    ArithmeticUtilization = "ACL_AICORE_ARITHMETIC_UTILIZATION"
    Memory = "ACL_AICORE_MEMORY_BANDWIDTH"
    MemoryL0 = "ACL_AICORE_L0B_AND_WIDTH"
    MemoryUB = "ACL_AICORE_MEMORY_UB"
    ResourceConflictRatio = "ACL_AICORE_RESOURCE_CONFLICT_RATIO"
    L2Cache = "ACL_AICORE_L2_CACHE"
    MemoryAccess = "ACL_AICORE_MEMORY_ACCESS"
    AiCoreNone = "ACL_AICORE_NONE"


class ExportType:
    """What files are written."""

    Db = "db"
    Text = "text"


class HostSystem:
    """Which counters of the host are read."""

    CPU = "cpu"
    MEM = "mem"
    DISK = "disk"
    NETWORK = "network"
    OSRT = "osrt"
    NUMA = "numa"


def _values(names: type) -> set[str]:
    return {value for name, value in vars(names).items() if not name.startswith("_")}


def supported_profiler_level() -> set[str]:
    """Returns the levels."""
    return _values(ProfilerLevel)


def supported_ai_core_metrics() -> set[str]:
    """Returns the sets of counters of the cores."""
    return _values(AiCMetrics)


def supported_export_type() -> set[str]:
    """Returns the kinds of files."""
    return _values(ExportType)


@dataclass
class _ExperimentalConfig:
    """Options of torch_npu's profiler.

    Level 0 and Level_none read no counters: `aic_metrics` becomes AiCoreNone, as there. Level_none
    is for mstx alone and switches it on; domains select nothing without it. Of the files, only text
    is written.

    Raises:
        ValueError: the level, the metrics or the export type are none of torch_npu's.
    """

    profiler_level: str = ProfilerLevel.Level0
    aic_metrics: str = AiCMetrics.PipeUtilization
    l2_cache: bool = False
    msprof_tx: bool = False
    mstx: bool = False
    data_simplification: bool = True
    record_op_args: bool = False
    op_attr: bool = False
    gc_detect_threshold: float | None = None
    export_type: str | Sequence[str] = ExportType.Text
    host_sys: Sequence[str] = field(default_factory=list)
    mstx_domain_include: Sequence[str] = field(default_factory=list)
    mstx_domain_exclude: Sequence[str] = field(default_factory=list)
    sys_io: bool = False
    sys_interconnection: bool = False

    def __post_init__(self) -> None:
        exports = [self.export_type] if isinstance(self.export_type, str) else self.export_type
        self.export_type = list(exports)
        for name, given, known in (
            ("profiler_level", [self.profiler_level], supported_profiler_level()),
            ("aic_metrics", [self.aic_metrics], supported_ai_core_metrics()),
            ("export_type", self.export_type, supported_export_type()),
        ):
            if not known.issuperset(given):
                raise ValueError(
                    f"_ExperimentalConfig: expected {name} among {sorted(known)}, got {given}"
                )
        if not self.reads_counters:
            self.aic_metrics = AiCMetrics.AiCoreNone
        if self.profiler_level == ProfilerLevel.Level_none:
            self.mstx = True
        if not (self.mstx or self.msprof_tx):
            self.mstx_domain_include = self.mstx_domain_exclude = []
        if ExportType.Db in self.export_type:
            warnings.warn("_ExperimentalConfig: files of type db are not written", stacklevel=3)

    @property
    def reads_counters(self) -> bool:
        """Whether the level reads counters of the cores: Level1 and Level2 do."""
        return self.profiler_level in (ProfilerLevel.Level1, ProfilerLevel.Level2)

    def as_info(self) -> dict[str, Any]:
        """Returns the options under the names that parsers look for in profiler_info.json."""
        public = {"record_op_args"}
        return {
            each.name if each.name in public else f"_{each.name}": getattr(self, each.name)
            for each in fields(self)
        }
