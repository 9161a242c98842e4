"""Forms in which publishers write a kernel's set-up, apart from cann-bench's JSON."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch_npu_sim.works.registry import NotExpressibleError

__all__ = ["FORMS", "Form"]


@dataclass(frozen=True)
class Form:
    """What a set-up says: an operator on shapes, and the work by which rates become times."""

    operator: str
    shapes: Sequence[Any]
    dtypes: Sequence[str | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, float] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0
    elements: float = 0.0
    label: str = ""


# What a publisher calls a format -> (torch dtype of its storage, the model's format, bytes).
_FORMATS = {
    "fp32": ("float32", "fp32", 4.0),
    "fp16": ("float16", "fp16", 2.0),
    "half": ("float16", "fp16", 2.0),
    "float16": ("float16", "fp16", 2.0),
    "bf16": ("bfloat16", "bf16", 2.0),
    "bfloat16": ("bfloat16", "bf16", 2.0),
    "fp8": ("float8_e4m3fn", "fp8_e4m3", 1.0),
    "fp8_block": ("float8_e4m3fn", "fp8_e4m3", 1.0),
    "int8": ("int8", "int8", 1.0),
    "mxfp8": ("uint8", "mxfp8", 1.0),
    "mxfp4": ("uint8", "mxfp4", 0.5),
    "hif8": ("uint8", "hif8", 1.0),
}


def matmul(m: int, n: int, k: int, name: str, out: str = "") -> Form:
    """A product [m, k] @ [k, n]; narrow formats give bf16."""
    if name.lower() not in _FORMATS:
        raise NotExpressibleError(f"format {name}")
    dtype, number_format, width = _FORMATS[name.lower()]
    wide = width >= 2
    out = out or (number_format if wide else "bf16")
    return Form(
        "matmul",
        [[m, k], [k, n]],
        [dtype, dtype],
        {"a_format": number_format, "b_format": number_format, "out_format": out},
        flops=2.0 * m * n * k,
        bytes=(m * k + n * k) * width + m * n * 2,
    )


def _cube(found: re.Match[str]) -> Form:
    size = int(found["s"])
    return matmul(size, size, size, found["f"])


def _mnk(found: re.Match[str]) -> Form:
    return matmul(int(found["m"]), int(found["n"]), int(found["k"]), found["f"])


def _high_performance(found: re.Match[str]) -> Form:
    step = int(found["step"])
    # Steps 0 to 5 hold the tile, the cores, the packets or the L2 order back on purpose.
    if step < 6:
        raise NotExpressibleError("a sample before its optimisation")
    return _cube(found)


def _attention(found: re.Match[str]) -> Form:
    batch, heads, groups = int(found["b"]), int(found["h"]), int(found["g"])
    dim, length = int(found["d"]), int(found["s"])
    causal = found["what"] == "causal prefill"
    queries = length if causal else 1
    dtype = _FORMATS[found["f"]][0]
    key = [batch, length, groups, dim]
    return Form("gqa", [[batch, queries, heads, dim], key, key], [dtype] * 3, {"is_causal": causal})


def _mla(found: re.Match[str]) -> Form:
    # Absorbed in both phases: keys of 512 + 64, values of 512; one head of keys.
    batch, heads, length = int(found["b"]), int(found["h"]), int(found["s"])
    causal = found["what"] == "prefill"
    queries = length if causal else 1
    shapes = [
        [batch, queries, heads, 512],
        [batch, queries, heads, 64],
        [batch, length, 1, 512],
        [batch, length, 1, 64],
    ]
    return Form("mla", shapes, [_FORMATS[found["f"]][0]] * 4, {"is_causal": causal})


def _one_head(found: re.Match[str]) -> Form:
    dim, queries = int(found["d"]), int(found["q"])
    length = int(found["s"]) if found["s"] else queries
    key = [1, length, 1, dim]
    cores = found["c"]
    overrides = {"cube_cores": int(cores), "vector_cores": 2 * int(cores)} if cores else {}
    dtype = _FORMATS[found["f"]][0]
    flops = 4.0 * queries * length * dim
    return Form(
        "mha", [[1, queries, 1, dim], key, key], [dtype] * 3, {}, overrides=overrides, flops=flops
    )


def _paged(found: re.Match[str]) -> Form:
    batch, heads, length = int(found["b"]), int(found["h"]), int(found["s"])
    key = [batch, length, 1, 128]
    return Form("mqa", [[batch, 1, heads, 128], key, key], ["bfloat16"] * 3)


def _grouped(found: re.Match[str]) -> Form:
    groups, m, n, k = (int(found[name]) for name in "gmnk")
    rows = groups * m
    ends = [m * (i + 1) for i in range(groups)]
    dtype = "float8_e4m3fn"
    attributes = {"group_list": ends, "output_dtype": "bfloat16"}
    return Form(
        "grouped_matmul",
        [[rows, k], [groups, k, n]],
        [dtype, dtype],
        attributes,
        flops=2.0 * rows * n * k,
        bytes=rows * k + groups * n * k + 2 * rows * n,
    )


def _moe_ffn(found: re.Match[str]) -> Form:
    hidden, inner, experts, topk = (int(found[name]) for name in ("h", "i", "e", "k"))
    local = experts // int(found["ep"])
    # Tokens come from every rank: each rank's experts get tokens x topk rows in all.
    rows = int(found["t"]) * topk
    return Form(
        "moe_ffn",
        [[rows, hidden], [local, hidden, 2 * inner], [local, inner, hidden]],
        ["float8_e4m3fn"] * 3,
        {"experts": local},
    )


def _projection(found: re.Match[str]) -> Form:
    tokens, parts = int(found["t"]), int(found["tp"])
    hidden, ffn = int(found["h"]), int(found["ffn"])
    queries, groups = int(found["q"]), int(found["g"])
    dim = hidden // queries
    what = found["what"]
    products = {
        "mlp_up_proj": (2 * ffn // parts, hidden),
        "mlp_down_proj": (hidden, ffn // parts),
        "attn_pre_proj": ((queries + 2 * groups) * dim // parts, hidden),
        "attn_post_proj": (hidden, queries * dim // parts),
    }
    if what in products:
        return matmul(tokens, *products[what], "fp8")
    if what == "mlp_act":
        return Form("swi_glu", [[tokens, 2 * ffn // parts]], ["bfloat16"], {"dim": -1})
    if what in ("input_layernorm", "post_attention_layernorm"):
        return Form("rms_norm", [[tokens, hidden], [hidden]], ["bfloat16"] * 2)
    raise NotExpressibleError(f"operator {what}")


def _matrix_function(found: re.Match[str]) -> Form:
    rows, columns = int(found["r"]), int(found["c"])
    dtype = _FORMATS[found["f"]][0]
    weights = [[columns], [columns]] if found["what"] == "layernorm" else []
    return Form(
        found["what"],
        [[rows, columns], *weights],
        [dtype] * (1 + len(weights)),
        {"dim": -1} if found["what"] == "softmax" else {},
        elements=rows * columns,
    )


def _vector_function(found: re.Match[str]) -> Form:
    size = int(found["n"])
    return Form(found["what"], [[size]], [_FORMATS[found["f"]][0]], {}, elements=size)


def _profiled(found: re.Match[str]) -> Form:
    rows, columns = int(found["r"]), int(found["c"])
    if found["what"] == "MatMulV2":
        return matmul(rows, int(found["n"]), columns, "bf16")
    added = found["what"] == "AddRmsNorm"
    shapes = [[rows, columns]] * (2 if added else 1) + [[columns]]
    return Form("add_rms_norm" if added else "rms_norm", shapes, ["bfloat16"] * len(shapes))


def _add(found: re.Match[str]) -> Form:
    if int(found["case"]) < 5:
        raise NotExpressibleError("a sample before its optimisation")
    return Form("add", [[int(found["r"]), int(found["c"])]] * 2, ["float16"] * 2)


def _gelu(found: re.Match[str]) -> Form:
    size = int(found["s"])
    return Form("gelu", [[size, size]], ["float16"], {"approximate": "tanh"})


def _data_copy(found: re.Match[str]) -> Form:
    rows, columns = int(found["r"]), int(found["c"])
    how = found["how"]
    # What the samples do where they do not say: large tiles, for L1 the better of its two bases.
    attributes: dict[str, Any] = {"target": found["to"], "run": 512 if found["to"] == "L1" else 0}
    if (tile := re.search(r"tile (\d+) ?(K?)B", how)) is not None:
        attributes |= {"run": int(tile[1]) * (1024 if tile[2] else 1), "block_rows": 1}
    elif (base := re.search(r"base \[(\d+), ?(\d+)\]", how)) is not None:
        attributes |= {"run": int(base[2]) * 2, "block_rows": int(base[1])}
    elif (blocks := re.search(r"(\d+) ?[x×] ?(\d+) ?B", how)) is not None:
        attributes |= {"run": int(blocks[2]), "block_rows": int(blocks[1])}
    elif (again := re.search(r"re-read (\d+)[x×](?: (sliced))?", how)) is not None:
        attributes |= {"sweeps": int(again[1]), "sliced": again[2] is not None}
    elif (odd := re.search(r"unaligned(?:\D+(\d{4,}))?", how)) is not None:
        columns = int(odd[1] or columns)
    else:
        raise NotExpressibleError(f"a copy with {how}")
    return Form("data_copy", [[rows, columns]], ["float16"], attributes)


def _copy(found: re.Match[str]) -> Form:
    return Form("clone", [[int(found["n"]) * 10**6]], ["bfloat16"], {}, bytes=4e6 * int(found["n"]))


def _top_k(found: re.Match[str]) -> Form:
    shape = [int(found["r"]), int(found["c"])]
    return Form("top_k", [shape], ["float32"], {"k": int(found["k"])})


def _add_norm_quant(found: re.Match[str]) -> Form:
    rows, columns = int(found["r"]), int(found["c"])
    shapes = [[rows, columns], [rows, columns], [columns]]
    return Form("add_rms_norm_dynamic_quant", shapes, ["float16"] * 3)


_F = r"(?P<f>[A-Za-z]+\d+(?:_block)?)"
FORMS: list[tuple[str, Callable[[re.Match[str]], Form]]] = [
    (rf"^matmul_high_performance {_F} (?P<s>\d+)\^3 C(?P<step>\d)", _high_performance),
    (rf"^{_F} (?:GEMM|matmul) (?P<s>\d+)\^3", _cube),
    (rf"^GEMM {_F} (?P<s>\d+)\^3", _cube),
    (rf"^{_F}(?:\([^)]*\))? GEMM m=k=n=(?P<s>\d+)", _cube),
    (rf"^{_F} GEMM m,k,n=(?P<m>\d+),(?P<k>\d+),(?P<n>\d+)", _mnk),
    (rf"^{_F}(?: dense| matmul)? M=(?P<m>\d+) N=(?P<n>\d+) K=(?P<k>\d+)", _mnk),
    (rf"^\w+ (?P<m>\d+)x(?P<k>\d+)x(?P<n>\d+) {_F}", _mnk),
    (
        rf"^(?P<what>causal prefill|decode) {_F} H(?P<h>\d+) KV(?P<g>\d+) D(?P<d>\d+) "
        r"B=(?P<b>\d+) (?:S|kv_len)=(?P<s>\d+)",
        _attention,
    ),
    (
        rf"^MLA (?P<what>decode|prefill) {_F} heads=(?P<h>\d+) B=(?P<b>\d+) "
        r"(?:S|kv_len)=(?P<s>\d+)",
        _mla,
    ),
    (
        rf"^FlashAttention fwd {_F} (?:1 head )?D=(?P<d>\d+),? ?(?:(?P<c>\d+) AICs, )?"
        r"S0=(?:S1=)?(?P<q>\d+)(?: S1=(?P<s>\d+))?",
        _one_head,
    ),
    (r"^paged attention B(?P<b>\d+) (?P<h>\d+) heads MQA ctx (?P<s>\d+)", _paged),
    (
        r"^grouped (?:contiguous|masked) (?P<g>\d+) groups? m=(?P<m>\d+) N(?P<n>\d+) K(?P<k>\d+)",
        _grouped,
    ),
    (
        r"^fused MoE FFN fp8_block h(?P<h>\d+) i(?P<i>\d+) e(?P<e>\d+) top(?P<k>\d+) "
        r"EP(?P<ep>\d+) tokens=(?P<t>\d+) balanced",
        _moe_ffn,
    ),
    (
        r"^(?P<what>\w+) tokens=(?P<t>\d+) TP(?P<tp>\d+) hidden (?P<h>\d+) ffn (?P<ffn>\d+) "
        r"heads (?P<q>\d+)/(?P<g>\d+)",
        _projection,
    ),
    (rf"^(?P<what>softmax|layernorm) shape (?P<r>\d+)x(?P<c>\d+) {_F}", _matrix_function),
    (rf"^(?P<what>gelu) shape (?P<n>\d+) {_F}", _vector_function),
    (r"^(?P<what>MatMulV2|RmsNorm|AddRmsNorm) (?P<r>\d+)x(?P<c>\d+)(?:x(?P<n>\d+))?$", _profiled),
    (r"^Add half (?P<r>\d+)x(?P<c>\d+) .*case (?P<case>\d)", _add),
    (r"^GELU alone.* (?P<s>\d+)\^2", _gelu),
    (r"^DataCopy GM->(?P<to>UB|L1).*\[(?P<r>\d+),(?P<c>\d+)\] half (?P<how>.+)$", _data_copy),
    (r"^elementwise copy (?P<n>\d+)M bf16", _copy),
    (r"^TopK\((?P<k>\d+)\) float (?P<r>\d+)x(?P<c>\d+)", _top_k),
    (r"^AddRmsNormDynamicQuant (?P<r>\d+)x(?P<c>\d+) fp16", _add_norm_quant),
]
