"""HiFloat8Tensor: a tensor that torch takes for a float one, and that keeps HiFloat8 codes."""

from typing import Any

import torch
from torch.utils._pytree import tree_map

from torch_npu_sim.formats import DTYPES

__all__ = ["HiFloat8Tensor"]

_HIFLOAT8 = DTYPES["hifloat8"]
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class _Encode(torch.autograd.Function):
    """From floats to codes; the gradient passes as it is, as in torch_npu."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> "HiFloat8Tensor":
        source = tensor.detach().npu()  # type: ignore[attr-defined]
        if source.dtype not in _FLOATS:
            source = source.float()
        codes = torch.ops.npu.npu_dtype_cast(source.contiguous(), _HIFLOAT8)
        return HiFloat8Tensor(data=codes, dtype=source.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


class _Decode(torch.autograd.Function):
    """From codes to floats."""

    @staticmethod
    def forward(ctx: Any, tensor: "HiFloat8Tensor", dtype: torch.dtype) -> torch.Tensor:
        decoded: torch.Tensor = torch.ops.npu.npu_dtype_cast(tensor._data, dtype, _HIFLOAT8)
        return decoded

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


class HiFloat8Tensor(torch.Tensor):
    """HiFloat8 codes with the shape and the nominal dtype of the floats they stand for.

    An operation decodes its operands, computes in the nominal dtype, and encodes again what it
    writes in place. Views keep the codes.

    Args:
        data: the codes, uint8, any shape.
        dtype: the nominal dtype.
    """

    _data: torch.Tensor

    def __new__(cls, *, data: torch.Tensor, dtype: torch.dtype = torch.float32) -> "HiFloat8Tensor":
        """Wraps codes.

        Raises:
            ValueError: an element of `data` is not one byte, or `data` requires a gradient.
        """
        if data.element_size() != 1:
            raise ValueError(f"HiFloat8Tensor: expected data of 8 bits, got {data.dtype}")
        if data.requires_grad:
            raise ValueError("HiFloat8Tensor: expected data without a gradient, got one with")
        codes: torch.Tensor = data.npu()  # type: ignore[attr-defined]
        made: HiFloat8Tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            codes.size(),
            strides=codes.stride(),
            storage_offset=codes.storage_offset(),
            dtype=dtype,
            layout=codes.layout,
            device=codes.device,
        )
        made._data = codes
        return made

    @classmethod
    def to_hifloat8(cls, tensor: torch.Tensor) -> "HiFloat8Tensor":
        """Encodes floats: to the nearest, ties away from zero."""
        made: HiFloat8Tensor = _Encode.apply(tensor)  # type: ignore[no-untyped-call]
        return made

    @classmethod
    def make_like(
        cls, tensor: "HiFloat8Tensor", *, data: torch.Tensor, **kwargs: Any
    ) -> "HiFloat8Tensor":
        """Wraps other codes with the nominal dtype of `tensor`, or another one."""
        return cls(data=data, dtype=kwargs.get("dtype", tensor.dtype))

    def from_hifloat8(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Decodes, to the nominal dtype if no other is given."""
        decoded: torch.Tensor = _Decode.apply(  # type: ignore[no-untyped-call]
            self, dtype or self.dtype
        )
        return decoded

    def to_dtype(self, dtype: torch.dtype) -> "HiFloat8Tensor":
        """Returns the same codes under another nominal dtype."""
        return self.make_like(self, data=self._data, dtype=dtype)

    def float(self) -> torch.Tensor:
        """Decodes to float32."""
        return self.from_hifloat8(torch.float32)

    def bfloat16(self) -> torch.Tensor:
        """Decodes to bfloat16."""
        return self.from_hifloat8(torch.bfloat16)

    def half(self) -> torch.Tensor:
        """Decodes to float16."""
        return self.from_hifloat8(torch.float16)

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        """Decodes, and copies to the host."""
        return self.from_hifloat8().cpu()

    def __repr__(self, **_unused: Any) -> str:  # type: ignore[override]
        """Shows the decoded values."""
        return f"HiFloat8Tensor(data={self.from_hifloat8()})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Decodes, computes, and encodes what the operator writes."""
        kwargs = kwargs or {}
        if func in _ON_CODES:
            return cls.make_like(args[0], data=func(args[0]._data, *args[1:], **kwargs))
        if func is torch.ops.aten.copy_.default and all(isinstance(a, cls) for a in args[:2]):
            args[0]._data.copy_(args[1]._data)
            return args[0]
        result = func(*tree_map(_decoded, args), **tree_map(_decoded, kwargs))
        if not func._schema.is_mutable:
            return result
        return cls._write_back(func, args, kwargs, result)

    @classmethod
    def _write_back(
        cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Any:
        """Encodes `result` into the one operand that the operator wrote, and returns that."""
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            written = argument.alias_info is not None and argument.alias_info.is_write
            target = given.get(argument.name)
            if written and isinstance(target, cls):
                target._data.copy_(cls.to_hifloat8(result.to(target.dtype))._data)
                return target
        return result


_ON_CODES = (
    torch.ops.aten.clone.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.permute.default,
    torch.ops.aten.select.int,
    torch.ops.aten.slice.Tensor,
    torch.ops.aten.t.default,
    torch.ops.aten.transpose.int,
    torch.ops.aten.unsqueeze.default,
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
)


def _decoded(value: Any) -> Any:
    return value.from_hifloat8() if isinstance(value, HiFloat8Tensor) else value
