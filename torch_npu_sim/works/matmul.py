"""Matrix products: plain, quantized, grouped, and fused with what follows."""

import itertools

import torch

from torch_npu_sim.works.call import Call, Work, format_of
from torch_npu_sim.works.registry import NotExpressibleError, operator

__all__ = ["group_sizes"]


@operator("gemm", "matmul", "mm", "bmm", "matmul_v2", "matmul_v3", "batch_matmul")
def gemm(call: Call) -> None:
    """A @ b, either transposed; formats that torch lacks are named by `a_format`, `b_format`."""
    a, b = call.tensor(0), call.tensor(1)
    flip_a = bool(call.attribute("transpose_a", False))
    flip_b = bool(call.attribute("transpose_b", call.attribute("is_trans_b", False)))
    work = _product(a, b, flip_a, flip_b)
    out = call.attribute("out_format") or format_of(a)
    work |= {
        "a": call.attribute("a_format") or format_of(a),
        "b": call.attribute("b_format") or format_of(b),
        "out": out,
        "adds_input": call.optional(2) is not None,
    }
    call.launch(work, [a, b, call.optional(2)], [_result(call, work, out)])


@operator("quant_matmul", "quant_batch_matmul_v3")
def quant_matmul(call: Call) -> None:
    """int8 or fp8 product, dequantized by a scale a column (and a row) on its way out."""
    x, weight = call.tensor(0), call.tensor(1)
    work = _product(
        x,
        weight,
        bool(call.attribute("transpose_x1", False)),
        bool(call.attribute("transpose_x2", False)),
    )
    dtype = getattr(torch, call.attribute("output_dtype", "float16"))
    out = call.empty([work["m"], work["n"]], dtype)
    work |= {"a": format_of(x), "b": format_of(weight), "out": format_of(out)}
    work["adds_input"] = True  # scale and bias, a row of n each
    call.launch(work, call.present(), [out])


@operator("weight_quant_batch_matmul", "weight_quant_batch_matmul_v2")
def weight_quant_matmul(call: Call) -> None:
    """Floating-point x times an int8 or int4 weight that is widened on its way to the cube."""
    x, weight = call.tensor(0), call.tensor(1)
    work = _product(x, weight, False, bool(call.attribute("transpose_weight", False)))
    out = call.empty([work["m"], work["n"]], x.dtype)
    work |= {"a": format_of(x), "b": format_of(weight), "out": format_of(x), "adds_input": True}
    call.launch(work, call.present(), [out])


@operator("grouped_matmul")
def grouped_matmul(call: Call) -> None:
    """Rows in groups, each group by its own weight [groups, k, n]."""
    x, weight = call.tensor(0), call.tensor(1)
    flip = bool(call.attribute("transpose_weight", False))
    work = _grouped(call, x, weight, flip)
    dtype = call.attribute("output_dtype")
    out = call.empty([x.shape[0], work["n"]], getattr(torch, dtype) if dtype else _wide(x.dtype))
    call.launch(work | {"out": format_of(out)}, call.present(), [out])


@operator("grouped_matmul_swiglu_quant")
def grouped_matmul_swiglu_quant(call: Call) -> None:
    """int8 grouped product, dequantized, SwiGLU of its halves, quantized again a row."""
    x, weight = call.tensor(0), call.tensor(1)
    work = _grouped(call, x, weight, False)
    out = call.empty([x.shape[0], work["n"] // 2], torch.int8)
    # n / 2 values of 8 bits leave the card's cores: as many as n of 4 bits.
    call.launch(work | {"out": "int4"}, call.present(), [out])


def group_sizes(ends: list[int], rows: int) -> list[int]:
    """Returns the rows of each group from their cumulative ends, which never pass `rows`."""
    capped = [min(end, rows) for end in ends]
    return [max(b - a, 0) for a, b in itertools.pairwise([0, *capped])]


def even_groups(rows: int, groups: int) -> list[int]:
    """Returns the rows of each group where they are spread as evenly as can be."""
    short, longer = divmod(rows, max(groups, 1))
    return [short + (group < longer) for group in range(groups)]


def _grouped(call: Call, x: torch.Tensor, weight: torch.Tensor, flip: bool) -> Work:
    if weight.dim() != 3:
        raise NotExpressibleError(f"{call.name}: expected weights [groups, k, n]")
    groups, k, n = weight.shape
    if flip:
        k, n = n, k
    ends = call.attribute("group_list") or [x.shape[0]]
    sizes = group_sizes(list(ends), x.shape[0])
    return {
        "kind": "grouped_matmul",
        "rows": sizes,
        "n": n,
        "k": k,
        "a": format_of(x),
        "b": format_of(weight),
    }


def _product(a: torch.Tensor, b: torch.Tensor, flip_a: bool, flip_b: bool) -> Work:
    k, m = (a.shape[-2], a.shape[-1]) if flip_a else (a.shape[-1], a.shape[-2])
    n = b.shape[-2] if flip_b else b.shape[-1]
    batch = a.shape[:-2].numel()
    if b.dim() == 2 and not flip_a:
        batch, m = 1, batch * m
    return {
        "kind": "matmul",
        "batch": batch,
        "m": m,
        "n": n,
        "k": k,
        "a_transposed": flip_a,
        "b_transposed": flip_b,
    }


def _result(call: Call, work: Work, out: str) -> torch.Tensor:
    dtype = {"fp32": torch.float32, "int32": torch.int32}.get(out, torch.float16)
    return call.empty([work["batch"], work["m"], work["n"]], dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float16 if dtype in (torch.int8, torch.uint8) else dtype
