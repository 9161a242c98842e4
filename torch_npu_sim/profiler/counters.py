"""The columns that aic_metrics adds to kernel_details.csv, and what the simulator knows of them.

Names and order are those of msprof's op_summary (its task-based columns, in the test data of
Ascend/msprof). A counter of a core is the mean over the cores, as the card reports it; the
simulator's pipes are those of the busiest core, and a product says what the mean is of it.
"""

from collections.abc import Callable, Mapping

from torch_npu_sim import _C
from torch_npu_sim.profiler.core import has_cube, has_vector
from torch_npu_sim.profiler.experimental_config import AiCMetrics
from torch_npu_sim.profiler.table import fixed
from torch_npu_sim.report import Kernel

__all__ = ["block_count", "counter_headers", "counters"]

_HEADERS: Mapping[str, str] = {
    AiCMetrics.AiCoreNone: "",
    AiCMetrics.PipeUtilization: (
        "aicore_time(us),aic_total_cycles,aic_mac_time(us),aic_mac_ratio,aic_scalar_time(us),"
        "aic_scalar_ratio,aic_mte1_time(us),aic_mte1_ratio,aic_mte2_time(us),aic_mte2_ratio,"
        "aic_fixpipe_time(us),aic_fixpipe_ratio,aic_icache_miss_rate,aiv_time(us),"
        "aiv_total_cycles,aiv_vec_time(us),aiv_vec_ratio,aiv_scalar_time(us),aiv_scalar_ratio,"
        "aiv_mte2_time(us),aiv_mte2_ratio,aiv_mte3_time(us),aiv_mte3_ratio,aiv_icache_miss_rate,"
        "cube_utilization(%)"
    ),
    AiCMetrics.ArithmeticUtilization: (
        "aicore_time(us),aic_total_cycles,aic_mac_fp16_ratio,aic_mac_int8_ratio,aic_cube_fops,"
        "aiv_time(us),aiv_total_cycles,aiv_vec_fp32_ratio,aiv_vec_fp16_ratio,aiv_vec_int32_ratio,"
        "aiv_vec_misc_ratio,aiv_vector_fops"
    ),
    AiCMetrics.Memory: (
        "aicore_time(us),aic_total_cycles,aic_l1_read_bw(GB/s),aic_l1_write_bw(GB/s),"
        "aic_main_mem_read_bw(GB/s),aic_main_mem_write_bw(GB/s),aic_l2_read_bw(GB/s),"
        "aic_l2_write_bw(GB/s),aiv_time(us),aiv_total_cycles,aiv_ub_read_bw(GB/s),"
        "aiv_ub_write_bw(GB/s),aiv_main_mem_read_bw(GB/s),aiv_main_mem_write_bw(GB/s),"
        "aiv_l2_read_bw(GB/s),aiv_l2_write_bw(GB/s)"
    ),
    AiCMetrics.MemoryL0: (
        "aicore_time(us),aic_total_cycles,aic_l0a_read_bw(GB/s),aic_l0a_write_bw(GB/s),"
        "aic_l0b_read_bw(GB/s),aic_l0b_write_bw(GB/s),aic_l0c_read_bw_cube(GB/s),"
        "aic_l0c_write_bw_cube(GB/s),aiv_time(us),aiv_total_cycles,aiv_l0c_read_bw(GB/s),"
        "aiv_l0c_write_bw(GB/s)"
    ),
    AiCMetrics.MemoryUB: (
        "aicore_time(us),aic_total_cycles,aic_ub_read_bw_scalar(GB/s),"
        "aic_ub_write_bw_scalar(GB/s),aiv_time(us),aiv_total_cycles,aiv_ub_read_bw_vector(GB/s),"
        "aiv_ub_write_bw_vector(GB/s),aiv_ub_read_bw_scalar(GB/s),aiv_ub_write_bw_scalar(GB/s)"
    ),
    AiCMetrics.ResourceConflictRatio: (
        "aicore_time(us),aic_total_cycles,aiv_time(us),aiv_total_cycles,"
        "aiv_vec_bankgroup_cflt_ratio,aiv_vec_bank_cflt_ratio,aiv_vec_resc_cflt_ratio"
    ),
    AiCMetrics.L2Cache: (
        "aicore_time(us),aic_total_cycles,aic_write_cache_hit,aic_write_cache_miss_allocate,"
        "aic_r0_read_cache_hit,aic_r0_read_cache_miss_allocate,aic_r1_read_cache_hit,"
        "aic_r1_read_cache_miss_allocate,aiv_time(us),aiv_total_cycles,aiv_write_cache_hit,"
        "aiv_write_cache_miss_allocate,aiv_r0_read_cache_hit,aiv_r0_read_cache_miss_allocate,"
        "aiv_r1_read_cache_hit,aiv_r1_read_cache_miss_allocate"
    ),
    AiCMetrics.MemoryAccess: (
        "aicore_time(us),aic_total_cycles,aic_read_main_memory_datas(KB),"
        "aic_write_main_memory_datas(KB),aic_GM_to_L1_datas(KB),aic_L0C_to_L1_datas(KB),"
        "aic_L0C_to_GM_datas(KB),aic_GM_to_UB_datas(KB),aic_UB_to_GM_datas(KB),aiv_time(us),"
        "aiv_total_cycles,aiv_read_main_memory_datas(KB),aiv_write_main_memory_datas(KB),"
        "aiv_GM_to_L1_datas(KB),aiv_L0C_to_L1_datas(KB),aiv_L0C_to_GM_datas(KB),"
        "aiv_GM_to_UB_datas(KB),aiv_UB_to_GM_datas(KB)"
    ),
}

_KB = 1024
_BYTES_PER_US_IN_GB_PER_S = 1e-3

Counters = dict[str, str]


def counter_headers(metrics: str) -> list[str]:
    """Returns the columns of a set of counters."""
    return _HEADERS[metrics].split(",") if _HEADERS[metrics] else []


def counters(kernel: Kernel, metrics: str) -> Counters:
    """Returns what is known of a set of counters for one kernel."""
    if metrics == AiCMetrics.AiCoreNone:
        return {}
    duration = fixed(kernel.duration_us)
    found = dict.fromkeys(_idle_headers(kernel, metrics), fixed(0.0))
    if has_cube(kernel):
        found["aicore_time(us)"] = duration
    if has_vector(kernel):
        found["aiv_time(us)"] = duration
    known = _KNOWN.get(metrics)
    return found | known(kernel) if known is not None else found


def _idle_headers(kernel: Kernel, metrics: str) -> list[str]:
    """Returns the columns of the kind of core that the kernel left idle."""
    idle: tuple[str, ...] = ()
    if not has_cube(kernel):
        idle += ("aicore_", "aic_", "cube_")
    if not has_vector(kernel):
        idle += ("aiv_",)
    return [header for header in counter_headers(metrics) if header.startswith(idle)]


def block_count(kernel: Kernel) -> int | None:
    """Returns on how many cores a product or attention ran; None where the model has no tiles."""
    facts = _facts(kernel)
    tiles = facts.get("tiles", facts.get("tasks"))
    shared = facts.get("k_split", facts.get("kv_splits"))
    if tiles is None or shared != 1:
        return None
    cube_cores, _ = _C.device_cores(kernel.device)
    return min(int(tiles), cube_cores)


def _facts(kernel: Kernel) -> dict[str, float]:
    return {name: value for name, value, _ in _C.explain(dict(kernel.fields))["facts"]}


def _pipe_utilization(kernel: Kernel) -> Counters:
    found: Counters = {}
    alone = {"mac": "cube", "mte1": "mte1", "fixpipe": "fixpipe"}
    if has_cube(kernel):
        # Where vector cores work too, both kinds have an mte2 and the model tells of one.
        named = alone if has_vector(kernel) else alone | {"mte2": "mte2"}
        balance = _facts(kernel).get("balance", 1.0)
        found |= _busy(kernel, "aic", named, balance)
    if has_vector(kernel):
        named = {"vec": "vector"} if has_cube(kernel) else _VECTOR_PIPES
        found |= _busy(kernel, "aiv", named, 1.0)
    return found


_VECTOR_PIPES = {"vec": "vector", "mte2": "mte2", "mte3": "mte3"}


def _busy(kernel: Kernel, core: str, named: Mapping[str, str], balance: float) -> Counters:
    found = {}
    for name, pipe in named.items():
        busy = kernel.pipes.get(pipe, 0.0) * balance
        found[f"{core}_{name}_time(us)"] = fixed(busy)
        found[f"{core}_{name}_ratio"] = _ratio(busy, kernel)
    return found


def _ratio(busy_us: float, kernel: Kernel) -> str:
    return fixed(busy_us / kernel.duration_us if kernel.duration_us else 0.0)


_MAC_RATIOS = {"fp16": "fp16", "bf16": "fp16", "int8": "int8"}
_VECTOR_RATIOS = {"fp32": "fp32", "fp16": "fp16", "int32": "int32"}


def _arithmetic_utilization(kernel: Kernel) -> Counters:
    found: Counters = {}
    if has_cube(kernel) and has_vector(kernel):
        return found  # the model counts the operations of both together
    if has_cube(kernel):
        found["aic_cube_fops"] = str(kernel.flops)
        kind = _MAC_RATIOS.get(str(kernel.fields.get("a", kernel.fields.get("format"))))
        busy = kernel.pipes.get("cube", 0.0) * _facts(kernel).get("balance", 1.0)
        if kind is not None:
            found[f"aic_mac_{kind}_ratio"] = _ratio(busy, kernel)
    else:
        found["aiv_vector_fops"] = str(kernel.flops)
        kind = _VECTOR_RATIOS.get(str(kernel.fields.get("compute", kernel.fields.get("format"))))
        if kind is not None:
            found[f"aiv_vec_{kind}_ratio"] = _ratio(kernel.pipes.get("vector", 0.0), kernel)
    return found


def _memory(kernel: Kernel) -> Counters:
    if has_cube(kernel) and has_vector(kernel) or not kernel.duration_us:
        return {}
    core = "aic" if has_cube(kernel) else "aiv"
    scale = _BYTES_PER_US_IN_GB_PER_S / kernel.duration_us
    return {
        f"{core}_main_mem_read_bw(GB/s)": fixed(kernel.bytes_hibl_read * scale),
        f"{core}_main_mem_write_bw(GB/s)": fixed(kernel.bytes_hibl_written * scale),
    }


def _memory_access(kernel: Kernel) -> Counters:
    if has_cube(kernel) and has_vector(kernel):
        return {}
    core = "aic" if has_cube(kernel) else "aiv"
    return {
        f"{core}_read_main_memory_datas(KB)": fixed(kernel.bytes_hibl_read / _KB),
        f"{core}_write_main_memory_datas(KB)": fixed(kernel.bytes_hibl_written / _KB),
    }


_KNOWN: Mapping[str, Callable[[Kernel], Counters]] = {
    AiCMetrics.PipeUtilization: _pipe_utilization,
    AiCMetrics.ArithmeticUtilization: _arithmetic_utilization,
    AiCMetrics.Memory: _memory,
    AiCMetrics.MemoryAccess: _memory_access,
}
