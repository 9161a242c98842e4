"""The plain roofline of a kernel: the slower of arithmetic and bytes, at peak."""

from typing import Any

from torch_npu_sim import _C

__all__ = ["memory_us", "roofline_us"]

Work = dict[str, Any]  # see `_C.complete_work`

_BITS = {
    "fp64": 64, "fp32": 32, "hf32": 32, "fp16": 16, "bf16": 16, "int64": 64, "int32": 32,
    "int16": 16, "mxfp8": 8.25, "mxfp4": 4.25, "fp4": 4, "int4": 4,
}  # fmt: skip
# Which of the cube's peaks a format runs at.
_PEAKS = {
    "fp32": "cube_fp32_flop_per_s", "hf32": "cube_fp32_flop_per_s",
    "fp16": "cube_fp16_flop_per_s", "bf16": "cube_fp16_flop_per_s",
    "fp8_e4m3": "cube_fp8_flop_per_s", "fp8_e5m2": "cube_fp8_flop_per_s",
    "mxfp8": "cube_fp8_flop_per_s", "hif8": "cube_fp8_flop_per_s",
    "int8": "cube_int8_flop_per_s",
    "mxfp4": "cube_fp4_flop_per_s", "fp4": "cube_fp4_flop_per_s", "int4": "cube_fp4_flop_per_s",
}  # fmt: skip


def roofline_us(work: Work) -> float:
    """Returns max(flops / peak, bytes / bandwidth) of a kernel on the chip in use."""
    full = _C.complete_work(work)
    chip = {name: value for name, value, _, _ in _C.chip_parameters()}
    flops, formats = _arithmetic(full)
    seconds = _bytes(full) / chip["hibl_bytes_per_s"]
    peaks = [chip.get(_PEAKS.get(name, ""), 0.0) for name in formats]
    peaks = [peak if peak > 0 else chip["cube_fp16_flop_per_s"] for peak in peaks]
    if flops > 0:
        seconds = max(seconds, flops / min(peaks))
    return float(seconds * 1e6)


def memory_us(moved_bytes: float) -> float:
    """Returns the least time that bytes take device memory of the chip in use."""
    chip = {name: value for name, value, _, _ in _C.chip_parameters()}
    return float(moved_bytes / chip["hibl_bytes_per_s"] * 1e6)


def _size(elements: float, number_format: str) -> float:
    return elements * _BITS.get(number_format, 8) / 8


def _arithmetic(work: dict[str, Any]) -> tuple[float, list[str]]:
    kind = work["kind"]
    if kind == "matmul":
        products = work["batch"] * work["m"] * work["n"] * work["k"]
        return 2.0 * products, [work["a"], work["b"]]
    if kind == "grouped_matmul":
        return 2.0 * sum(work["rows"]) * work["n"] * work["k"], [work["a"], work["b"]]
    if kind == "attention":
        pairs = work["batch"] * work["q_heads"] * work["q_len"] * work["kv_len"]
        flops: float = 2.0 * pairs * (work["qk_dim"] + work["v_dim"])
        return flops * (0.5 if work["causal"] else 1.0), [work["format"]]
    if kind == "convolution":
        weights = work["out_channels"] * work["in_channels"] // max(work["groups"], 1)
        weights *= work["kernel_positions"]
        return 2.0 * work["batch"] * work["out_positions"] * weights, [work["format"]]
    return 0.0, []


def _bytes(work: dict[str, Any]) -> float:
    kind = work["kind"]
    if kind == "matmul":
        m, n, k, batch = work["m"], work["n"], work["k"], work["batch"]
        weights = _size(n * k, work["b"]) * (1 if work["b_shared"] else batch)
        total: float = batch * (_size(m * k, work["a"]) + _size(m * n, work["out"])) + weights
        return total
    if kind == "grouped_matmul":
        used = len(work["rows"])
        rows, n, k = sum(work["rows"]), work["n"], work["k"]
        moved: float = (
            _size(rows * k, work["a"])
            + _size(used * n * k, work["b"])
            + _size(rows * n, work["out"])
        )
        return moved
    if kind == "attention":
        queries = work["batch"] * work["q_heads"] * work["q_len"]
        keys = work["batch"] * work["kv_heads"] * work["kv_len"]
        per_key = work["qk_dim"] + (0 if work["v_in_k"] else work["v_dim"])
        elements = queries * (work["qk_dim"] + work["v_dim"]) + keys * per_key
        return _size(elements, work["format"])
    if kind == "convolution":
        positions = work["in_channels"] * work["in_positions"]
        positions += work["out_channels"] * work["out_positions"]
        weights = work["out_channels"] * work["in_channels"] // max(work["groups"], 1)
        elements = work["batch"] * positions + weights * work["kernel_positions"]
        return _size(elements, work["format"])
    if kind == "sort":
        return _size(work["rows"] * work["columns"], work["format"]) + float(work["written"])
    return float(work.get("read", 0) + work.get("written", 0) + work.get("index", 0))
