"""What to measure on the card. Names and values are torch_npu's (experimental_config.py there)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    """Options of torch_npu's profiler. All are accepted; every kernel is recorded with its time.

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
