"""One call of an operator on shapes alone, and the kernels that it launches on the card."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_npu_sim import _C

__all__ = ["Call", "Kernel", "Work", "bytes_of", "format_of"]

Work = dict[str, Any]  # {"kind": "matmul", "m": 4096, ...}; see `_C.complete_work`
Operand = torch.Tensor | None | list[torch.Tensor]

_FORMATS = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8_e4m3",
    torch.float8_e5m2: "fp8_e5m2",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool",
}


def format_of(tensor: torch.Tensor) -> str:
    """Returns the name of the tensor's number format as a Work spells it."""
    return _FORMATS[tensor.dtype]


def bytes_of(*tensors: torch.Tensor | None) -> int:
    """Returns the bytes of the tensors' elements together; None holds none."""
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


@dataclass(frozen=True)
class Kernel:
    """One kernel: what it asks of the card, and the tensors it reads and writes."""

    op: str
    work: Work
    reads: tuple[torch.Tensor, ...] = ()
    writes: tuple[torch.Tensor, ...] = ()


@dataclass
class Call:
    """An operator's name, its inputs as meta tensors, its attributes, and its kernels so far."""

    name: str
    inputs: Sequence[Operand]
    attributes: Mapping[str, Any]
    kernels: list[Kernel] = field(default_factory=list)

    def tensor(self, index: int) -> torch.Tensor:
        """Returns input `index`, which must be a tensor."""
        value = self.optional(index)
        if value is None:
            raise ValueError(f"{self.name}: expected a tensor as input {index}, got none")
        return value

    def optional(self, index: int) -> torch.Tensor | None:
        """Returns input `index`, or None where it is left out."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(value, list):
            raise ValueError(f"{self.name}: expected a tensor as input {index}, got a list")
        return value

    def tensors(self, index: int) -> list[torch.Tensor]:
        """Returns input `index` as a list of tensors."""
        value = self.inputs[index]
        if isinstance(value, list):
            return value
        return [] if value is None else [value]

    def present(self) -> list[torch.Tensor]:
        """Returns every tensor among the inputs, those of lists too."""
        found: list[torch.Tensor] = []
        for value in self.inputs:
            if isinstance(value, list):
                found += value
            elif value is not None:
                found.append(value)
        return found

    def attribute(self, name: str, default: Any = None) -> Any:
        """Returns an attribute, or `default`."""
        return self.attributes.get(name, default)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns a new meta tensor."""
        return torch.empty(tuple(shape), dtype=dtype, device="meta")

    def launch(
        self,
        work: Work,
        reads: Sequence[torch.Tensor | None] = (),
        writes: Sequence[torch.Tensor] = (),
    ) -> None:
        """Adds a kernel."""
        present = tuple(tensor for tensor in reads if tensor is not None)
        self.kernels.append(Kernel(self.name, work, present, tuple(writes)))

    def elementwise(
        self,
        reads: Sequence[torch.Tensor | None],
        writes: Sequence[torch.Tensor],
        *,
        linear: int,
        special: int = 0,
        elements: int | None = None,
        compute: str = "fp32",
    ) -> None:
        """Adds an element-wise kernel of `linear` and `special` instructions an element."""
        work = {
            "kind": "vector",
            "elements": writes[0].numel() if elements is None else elements,
            "read": bytes_of(*reads),
            "written": bytes_of(*writes),
            "compute": compute,
            "linear_ops": linear,
            "special_ops": special,
        }
        self.launch(work, reads, writes)

    def rowwise(
        self,
        reads: Sequence[torch.Tensor | None],
        writes: Sequence[torch.Tensor],
        *,
        rows: int,
        columns: int,
        linear: int,
        special: int = 0,
        reductions: int = 1,
        passes: int = 1,
    ) -> None:
        """Adds a row-wise kernel, which computes in fp32."""
        work = {
            "kind": "row",
            "rows": rows,
            "columns": columns,
            "read": bytes_of(*reads),
            "written": bytes_of(*writes),
            "compute": "fp32",
            "linear_ops": linear,
            "special_ops": special,
            "reductions": reductions,
            "passes": passes,
        }
        self.launch(work, reads, writes)

    def torch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Runs a torch function on meta tensors and adds the kernels of its operators."""
        with _Recorder(self.kernels):
            return function(*args, **kwargs)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Describes every operator that reaches it."""

    def __init__(self, kernels: list[Kernel]) -> None:
        """Adds to `kernels`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels = kernels

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        schema = func._schema
        given = list(args) + [
            kwargs.get(argument.name, argument.default_value)
            for argument in schema.arguments[len(args) :]
        ]
        for i, argument in enumerate(schema.arguments):
            if argument.type.kind() == "TensorType" and isinstance(given[i], int | float):
                # A number among tensors, as wide as the route sees it.
                wide = torch.float64 if isinstance(given[i], float) else torch.int64
                given[i] = torch.tensor(given[i], dtype=wide)
        results = [] if not schema.returns else [result] if len(schema.returns) == 1 else [*result]
        name, overload = schema.name, schema.overload_name
        for work in _C.describe(name, overload, given, results):
            if work["kind"] != "none":
                reads = tuple(_tensors(given))
                writes = tuple(_tensors(results)) or tuple(_tensors(given[:1]))
                self._kernels.append(Kernel(name, work, reads, writes))
        return result


def _tensors(values: Sequence[Any]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
