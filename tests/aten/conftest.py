"""The same call on the CPU and on npu, compared bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

Same = Callable[..., Any]


def _move_strided(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copies a tensor with its whole storage, so that gaps, overlaps and offsets stay."""
    raw = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).clone().to(device)
    out = torch.empty(0, dtype=tensor.dtype, device=device)
    out.set_(raw.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    out = out.conj() if tensor.is_conj() else out
    out = torch._neg_view(out) if tensor.is_neg() else out
    return out.requires_grad_(tensor.requires_grad)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and not value.is_quantized and not value.is_nested
        if plain:
            return _move_strided(value.detach(), device).requires_grad_(value.requires_grad)
        return value.to(device, copy=True)
    if isinstance(value, torch.device):
        return device
    if isinstance(value, list | tuple):
        return type(value)(_move(part, device) for part in value)
    return value


def _assert_same_tensor(npu: torch.Tensor, cpu: torch.Tensor, exact: bool) -> None:
    assert npu.device.type == "npu"
    assert npu.dtype == cpu.dtype
    assert npu.layout == cpu.layout
    assert npu.shape == cpu.shape
    assert npu.requires_grad == cpu.requires_grad
    if cpu.layout == torch.strided and not cpu.is_nested:
        assert npu.stride() == cpu.stride()
        assert npu.storage_offset() == cpu.storage_offset()
        assert npu.untyped_storage().nbytes() == cpu.untyped_storage().nbytes()
        assert (npu.is_conj(), npu.is_neg()) == (cpu.is_conj(), cpu.is_neg())
    bound = {"rtol": 0, "atol": 0} if exact else {}
    torch.testing.assert_close(npu.detach().cpu(), cpu.detach(), equal_nan=True, **bound)


def _assert_same(npu: Any, cpu: Any, exact: bool) -> None:
    if isinstance(cpu, torch.Tensor):
        _assert_same_tensor(npu, cpu, exact)
    elif isinstance(cpu, list | tuple):
        assert len(npu) == len(cpu)
        for one, other in zip(npu, cpu, strict=True):
            _assert_same(one, other, exact)
    else:
        assert npu == cpu


@pytest.fixture
def same(npu: torch.device) -> Same:
    """`same(call, *values)` runs `call` on the CPU and on npu and compares what it returns.

    Tensors among the values are copied with storage and geometry; a `torch.device` becomes the
    device of the run. Results and inputs must agree in dtype, shape, strides, offset, storage size
    and values, bit for bit unless `exact=False`. Returns the npu result.
    """

    def run(call: Callable[..., Any], *values: Any, exact: bool = True) -> Any:
        at_cpu = _move(list(values), torch.device("cpu"))
        at_npu = _move(list(values), npu)
        torch.manual_seed(1)
        expected = call(*at_cpu)
        torch.manual_seed(1)
        got = call(*at_npu)
        _assert_same(got, expected, exact)
        for one, other in zip(at_npu, at_cpu, strict=True):
            if isinstance(other, torch.Tensor | list):
                _assert_same(one, other, exact)
        return got

    return run


def _shapes(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    def values(*size: int) -> torch.Tensor:
        return torch.testing.make_tensor(size, dtype=dtype, device="cpu", low=-4, high=5)

    return {
        "empty": values(0, 3),
        "scalar": values(1).squeeze(),
        "one": values(1, 1),
        "odd": values(7, 5),
        "transposed": values(5, 7).t(),
        "strided": values(9, 11)[1::2, ::3],
        "expanded": values(1, 5).expand(7, 5),
        "offset": values(8, 5)[1:],
    }


GEOMETRIES = ("empty", "scalar", "one", "odd", "transposed", "strided", "expanded", "offset")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.complex64)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Every kind of number: floats of 16, 32 and 64 bits, integers, complex."""
    return request.param


@pytest.fixture(params=GEOMETRIES)
def tensor(request: pytest.FixtureRequest, dtype: torch.dtype) -> torch.Tensor:
    """A CPU tensor of each geometry: none, one and an odd number of elements, gaps, overlaps."""
    return _shapes(dtype)[request.param]


@pytest.fixture(params=GEOMETRIES)
def float_tensor(request: pytest.FixtureRequest) -> torch.Tensor:
    """As `tensor`, float32 only."""
    return _shapes(torch.float32)[request.param]
