"""Sequences of kernels for which the card has one.

A trace knows operators, sizes and order, not which tensor went where. So a match is kernels that
follow one another in a stream, whose operators and sizes are those of the sequence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from torch_npu_sim.report.kernel import Kernel

__all__ = ["PATTERNS", "FusedCall", "Match", "Stream", "base_of"]

Size = tuple[int, ...]

_MATMULS = ("addmm", "baddbmm", "bmm", "linear", "matmul", "mm")
_NORMS = ("_fused_rms_norm", "npu_rms_norm", "rms_norm")
# Between scores and their softmax, or the softmax and the second product.
_ON_SCORES = (
    *("add", "copy_", "div", "dropout", "masked_fill", "mul", "native_dropout", "sub", "tanh"),
    *("_to_copy", "where"),
)
_MOST_ON_SCORES = 8
_LEAST_SINKHORN_STEPS = 4
_WIDEST_SINKHORN = 16


def base_of(op: str) -> str:
    """Returns the name without namespace, overload and in-place mark: aten::add_.Tensor is add."""
    base = op.rsplit("::", 1)[-1].split(".", 1)[0]
    return base if base == "copy_" else base.rstrip("_")


@dataclass(frozen=True)
class FusedCall:
    """One call of a fused operator: its name, its operands' shapes and dtype."""

    operator: str  # "npu_swiglu"
    shapes: tuple[Size, ...]
    dtype: torch.dtype
    number: int = 0  # iterations of the Sinkhorn normalisation; 1: a weight lies transposed


@dataclass(frozen=True)
class Match:
    """Kernels that a fused operator would replace."""

    fusion: str
    kernels: tuple[Kernel, ...]
    end: int  # index after the last one in its stream
    call: FusedCall


@dataclass
class Stream:
    """A place in the kernels of one stream, in the order of their launch, and those taken."""

    kernels: Sequence[Kernel]
    names: Sequence[str]
    at: int
    taken: tuple[Kernel, ...] = ()

    def peek(self, *names: str, elements: int | None = None) -> Kernel | None:
        """Returns the next kernel if it is one of these operators on so many elements."""
        if self.at >= len(self.kernels) or self.names[self.at] not in names:
            return None
        kernel = self.kernels[self.at]
        return None if elements is not None and _elements(kernel) != elements else kernel

    def take(self, *names: str, elements: int | None = None) -> Kernel | None:
        """Takes the next kernel if `peek` returns it."""
        kernel = self.peek(*names, elements=elements)
        if kernel is not None:
            self.taken += (kernel,)
            self.at += 1
        return kernel

    def take_all(self, *names: str, elements: int, most: int) -> None:
        """Takes up to `most` kernels of these operators."""
        while most > 0 and self.take(*names, elements=elements) is not None:
            most -= 1

    def pass_by(self, *names: str, most: int) -> None:
        """Goes past up to `most` kernels of these operators without taking them."""
        while most > 0 and self.peek(*names) is not None:
            self.at += 1
            most -= 1

    def match(self, fusion: str, call: FusedCall) -> Match:
        """Returns the match of what has been taken."""
        return Match(fusion, self.taken, self.at, call)


def _elements(kernel: Kernel) -> int:
    """Elements of the larger side: of a row-wise kernel those it reads."""
    fields = kernel.fields
    if fields["kind"] == "vector":
        return int(fields["elements"])
    if fields["kind"] == "row":
        return int(fields["rows"] * fields["columns"])
    return -1


def _dtype(item_bytes: float) -> torch.dtype:
    """A dtype of that width: the time of an operator depends on no more."""
    return torch.float32 if item_bytes >= 4 else torch.bfloat16


def _add_rms_norm(stream: Stream) -> Match | None:
    total = stream.take("add")
    if total is None or (elements := _elements(total)) <= 0:
        return None
    item = total.fields["written"] / elements
    if total.fields["read"] < 2 * elements * item:  # one of the two is broadcast
        return None
    shape = _norm(stream, elements)
    if shape is None:
        return None
    rows, columns = shape
    operands = ((rows, columns), (rows, columns), (columns,))
    return stream.match("add + RMS norm", FusedCall("npu_add_rms_norm", operands, _dtype(item)))


def _norm(stream: Stream, elements: int) -> Size | None:
    """Takes an RMS norm, fused or in pieces, and returns (rows, columns)."""
    fused = stream.take(*_NORMS, elements=elements)
    if fused is not None:
        return fused.fields["rows"], fused.fields["columns"]
    stream.take("copy_", elements=elements)  # to fp32
    if stream.take("mul", "pow", "square", elements=elements) is None:
        return None
    mean = stream.take("mean", elements=elements)
    if mean is None:
        return None
    rows = int(mean.fields["rows"])
    stream.take("add", elements=rows)
    if stream.take("rsqrt", elements=rows) is None:
        return None
    if stream.take("mul", elements=elements) is None:
        return None
    stream.take("copy_", elements=elements)
    if stream.take("mul", elements=elements) is not None:  # the weight
        stream.take("copy_", elements=elements)
    return rows, int(mean.fields["columns"])


def _rms_norm(stream: Stream) -> Match | None:
    first = stream.peek("copy_", "mul", "pow", "square")
    if first is None or (elements := _elements(first)) <= 0:
        return None
    shape = _norm(stream, elements)
    if shape is None:
        return None
    item = first.fields["read"] / elements
    operands = (shape, shape[1:])
    return stream.match("RMS norm", FusedCall("npu_rms_norm", operands, _dtype(item)))


def _swiglu(stream: Stream) -> Match | None:
    gate = stream.take("silu")
    if gate is None or (elements := _elements(gate)) <= 0:
        return None
    stream.pass_by(*_MATMULS, most=1)  # the product that makes the other half
    if stream.take("mul", elements=elements) is None:
        return None
    item = gate.fields["written"] / elements
    return stream.match("SwiGLU", FusedCall("npu_swiglu", ((2 * elements,),), _dtype(item)))


def _rope(stream: Stream) -> Match | None:
    """Takes x * cos + cat(-x2, x1) * sin, in either order of the terms."""
    scaled = stream.take("mul")
    negated = stream.take("neg")
    if negated is None or (elements := 2 * _elements(negated)) <= 0:
        return None
    joined = stream.take("cat")
    item = negated.fields["written"] // (elements // 2)
    if joined is None or joined.fields.get("written") != elements * item:
        return None
    if scaled is None:
        scaled = stream.take("mul", elements=elements)
    if scaled is None or _elements(scaled) != elements:
        return None
    if stream.take("mul", elements=elements) is None:
        return None
    if stream.take("add", elements=elements) is None:
        return None
    dim = 2 * int(joined.fields["run"]) // item
    angles = (scaled.fields["read"] - elements * item) // item
    if dim <= 0 or elements % dim or angles <= 0:
        return None
    positions = max(angles // dim, 1)
    if (elements // dim) % positions:
        positions = elements // dim
    x = (1, elements // dim // positions, positions, dim)
    angle = (1, 1, positions, dim)
    call = FusedCall("npu_rotary_mul", (x, angle, angle), _dtype(item))
    return stream.match("rotary embedding", call)


def _bias_gelu(stream: Stream) -> Match | None:
    product = stream.take("addmm", "linear", "mm")
    if product is None or product.fields["kind"] != "matmul":
        return None
    f = product.fields
    elements = f["batch"] * f["m"] * f["n"]
    bias = stream.take("add", elements=elements)
    if bias is None and not f["adds_input"]:
        return None
    if stream.take("gelu", elements=elements) is None:
        return None
    shapes = ((f["batch"] * f["m"], f["k"]), (f["k"], f["n"]), (f["n"],))
    item = 4 if f["out"] in ("fp32", "hf32") else 2
    transposed = int(f["b_transposed"])
    call = FusedCall("npu_fused_matmul", shapes, _dtype(item), transposed)
    return stream.match("bias + GELU", call)


def _attention(stream: Stream) -> Match | None:
    scores = stream.take("baddbmm", "bmm", "matmul")
    if scores is None or scores.fields["kind"] != "matmul":
        return None
    f = scores.fields
    heads, queries, keys = f["batch"], f["m"], f["n"]
    elements = heads * queries * keys
    for _ in range(_MOST_ON_SCORES):
        if stream.peek("softmax", "_softmax", "_safe_softmax") is not None:
            break
        if stream.take(*_ON_SCORES, elements=elements) is None:
            stream.pass_by("arange", "fill", "ge", "le", "lt", "tril", "triu", "zero", most=1)
    soft = stream.take("softmax", "_softmax", "_safe_softmax", elements=elements)
    if soft is None or soft.fields["columns"] != keys:
        return None
    stream.take_all(*_ON_SCORES, elements=elements, most=3)
    values = stream.take("bmm", "matmul")
    if values is None or values.fields["kind"] != "matmul":
        return None
    g = values.fields
    if (g["batch"], g["m"], g["k"]) != (heads, queries, keys):
        return None
    operands = ((1, heads, queries, f["k"]), (1, heads, keys, f["k"]), (1, heads, keys, g["n"]))
    item = 4 if f["a"] in ("fp32", "hf32") else 2
    return stream.match("attention", FusedCall("flash_attention", operands, _dtype(item)))


def _sinkhorn(stream: Stream) -> Match | None:
    steps, size, width = 0, 0, 0
    while (total := stream.peek("sum")) is not None:
        elements, columns = _elements(total), int(total.fields.get("columns", 0))
        if size and elements != size or not 0 < columns <= _WIDEST_SINKHORN:
            break
        last, taken = stream.at, stream.taken
        stream.take("sum")
        stream.take("add", elements=elements // columns)
        if stream.take("div", elements=elements) is None:
            stream.at, stream.taken = last, taken
            break
        steps, size, width = steps + 1, elements, columns
    if steps < _LEAST_SINKHORN_STEPS or size % (width * width):
        return None
    shape = (size // (width * width), width, width)
    call = FusedCall("npu_mhc_sinkhorn", (shape,), torch.float32, (steps + 1) // 2)
    return stream.match("hyper-connections (Sinkhorn)", call)


# By the operator that begins them; the longest comes first.
PATTERNS: dict[str, tuple[Callable[[Stream], Match | None], ...]] = {
    "add": (_add_rms_norm,),
    "addmm": (_bias_gelu,),
    "baddbmm": (_attention,),
    "bmm": (_attention,),
    "copy_": (_rms_norm,),
    "linear": (_bias_gelu,),
    "matmul": (_attention,),
    "mm": (_bias_gelu,),
    "mul": (_rope, _rms_norm),
    "neg": (_rope,),
    "pow": (_rms_norm,),
    "silu": (_swiglu,),
    "square": (_rms_norm,),
    "sum": (_sinkhorn,),
}
