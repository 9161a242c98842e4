"""Kernels from a line of text: `matmul 4096x4096x4096 mxfp4`.

A line is an operator, then in any order shapes (`4096x4096`), number formats (`bf16`), attributes
(`kv=8`, `dim=0`), sizes (`64MiB`) and flags (`causal`):

- `matmul MxKxN FORMAT [OUT]`, `matmul BATCHxMxKxN FORMAT`
- `grouped_matmul ROWSxKxN FORMAT g=GROUPS`, rows spread evenly
- `attention b=1 h=32 kv=8 q=4096 s=4096 d=128 bf16 causal`, with `dv=` where values are narrower
- `mla b=32 h=128 q=1 s=4096 bf16`
- `copy 64MiB`, or a shape and a format
- any other operator: a shape an input, attributes by name, as in `softmax 8192x8192 bf16 dim=-1`
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import torch

from torch_npu_sim.works.call import Kernel, Operand, Work
from torch_npu_sim.works.matmul import even_groups
from torch_npu_sim.works.registry import NotExpressibleError, describe_call

__all__ = ["kernels_of"]

# The model's name of a format -> torch dtype of its storage, for operators of torch.
_DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "hf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "hif8": torch.uint8,
    "mxfp8": torch.uint8,
    "mxfp4": torch.uint8,
    "fp4": torch.uint8,
    "int4": torch.int8,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}
_SYNONYMS = {
    "fp8": "fp8_e4m3",
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float": "fp32",
    "tf32": "hf32",
}
_NARROW = ("fp8_e4m3", "fp8_e5m2", "hif8", "mxfp8", "mxfp4", "fp4", "int4", "int8")
_FLAGS = ("causal", "backward", "transpose_a", "transpose_b")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(B|kB|KB|MB|GB|KiB|MiB|GiB)")
_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


@dataclass
class _Line:
    name: str
    shapes: list[list[int]] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    size: int = 0

    def number(self, name: str, default: int | None = None) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise NotExpressibleError(f"{self.name}: expected a number, as in {name}=8")
        return value

    def format(self, default: str = "bf16") -> str:
        return self.formats[0] if self.formats else default

    def one_shape(self, *lengths: int) -> list[int]:
        if len(self.shapes) != 1 or len(self.shapes[0]) not in lengths:
            wanted = " or ".join(str(length) for length in lengths)
            raise NotExpressibleError(f"{self.name}: expected one shape of {wanted} numbers")
        return self.shapes[0]


def kernels_of(text: str) -> list[Kernel]:
    """Returns the kernels that the operator of a line launches.

    Raises:
        NotExpressibleError: the line is not understood, or nobody has described the operator.
    """
    line = _parse(text)
    makers = {
        "matmul": _matmul,
        "mm": _matmul,
        "gemm": _matmul,
        "grouped_matmul": _grouped,
        "attention": _attention,
        "mla": _latent,
        "copy": _copy,
    }
    if line.name in makers:
        return [Kernel(line.name, makers[line.name](line))]
    formats = line.formats or ["bf16"]
    inputs: list[Operand] = []
    for i, shape in enumerate(line.shapes):
        dtype = _DTYPES[formats[min(i, len(formats) - 1)]]
        inputs.append(torch.empty(shape, dtype=dtype, device="meta"))
    if not inputs:
        raise NotExpressibleError(f"{line.name}: expected a shape, as in 4096x4096 bf16")
    return describe_call(line.name, inputs, line.attributes)


def _parse(text: str) -> _Line:
    words = text.split()
    if not words:
        raise NotExpressibleError("expected an operator, as in matmul 64x64x64 bf16; got none")
    line = _Line(words[0])
    for word in words[1:]:
        name = _SYNONYMS.get(word.lower(), word.lower())
        if name in _DTYPES:
            line.formats.append(name)
        elif word in _FLAGS:
            line.attributes[word] = True
        elif "=" in word:
            key, _, value = word.partition("=")
            line.attributes[key] = _value(value)
        elif (size := _SIZE.fullmatch(word)) is not None:
            line.size = int(float(size[1]) * _UNITS[size[2]])
        elif re.fullmatch(r"\d+(x\d+)*", word):
            line.shapes.append([int(number) for number in word.split("x")])
        else:
            raise NotExpressibleError(
                f"{line.name}: expected a shape, a format, name=value, a size or one of "
                f"{', '.join(_FLAGS)}; got {word!r}"
            )
    return line


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _matmul(line: _Line) -> Work:
    shape = line.one_shape(3, 4)
    batch, (m, k, n) = (shape[0] if len(shape) == 4 else 1), shape[-3:]
    name = line.format()
    return {
        "kind": "matmul",
        "batch": batch,
        "m": m,
        "n": n,
        "k": k,
        "a": name,
        "b": name,
        "out": _out(line, name),
        "a_transposed": bool(line.attributes.get("transpose_a", False)),
        "b_transposed": bool(line.attributes.get("transpose_b", False)),
    }


def _grouped(line: _Line) -> Work:
    rows, k, n = line.one_shape(3)
    groups = line.number("g")
    name = line.format()
    return {
        "kind": "grouped_matmul",
        "rows": even_groups(rows, groups),
        "n": n,
        "k": k,
        "a": name,
        "b": name,
        "out": _out(line, name),
    }


def _attention(line: _Line) -> Work:
    heads, length, dim = line.number("h"), line.number("s"), line.number("d", 128)
    return {
        "kind": "attention",
        "batch": line.number("b", 1),
        "q_heads": heads,
        "kv_heads": line.number("kv", heads),
        "q_len": line.number("q", length),
        "kv_len": length,
        "qk_dim": dim,
        "v_dim": line.number("dv", dim),
        "format": line.format(),
        "causal": bool(line.attributes.get("causal", False)),
        "backward": bool(line.attributes.get("backward", False)),
    }


def _latent(line: _Line) -> Work:
    length = line.number("s")
    return {
        "kind": "attention",
        "batch": line.number("b", 1),
        "q_heads": line.number("h", 128),
        "kv_heads": 1,
        "q_len": line.number("q", 1),
        "kv_len": length,
        "qk_dim": 576,
        "v_dim": 512,
        "format": line.format(),
        "causal": bool(line.attributes.get("causal", False)),
        "v_in_k": True,
    }


def _copy(line: _Line) -> Work:
    size = line.size
    if line.shapes:
        (shape,) = line.shapes
        elements = torch.Size(shape).numel()
        size = elements * _DTYPES[line.format()].itemsize
    if size <= 0:
        raise NotExpressibleError("copy: expected a size, as in 64MiB, or a shape and a format")
    return {"kind": "copy", "read": size, "written": size, "run": line.number("run", 0)}


def _out(line: _Line, name: str) -> str:
    if len(line.formats) > 1:
        return line.formats[1]
    return "bf16" if name in _NARROW else name
