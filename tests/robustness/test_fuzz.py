"""Random calls, wrong ones among them: npu does what the CPU does, and never crashes."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torch_npu_sim import _C

# Fixed examples: a failure shows up for whoever runs the tests next.
fixed = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
dimensions = st.lists(st.sampled_from((0, 1, 2, 3, 5)), max_size=4)
# Past what any host could serve, so that a wrong call costs no memory.
wild = st.one_of(st.integers(-3, 6), st.sampled_from((1 << 62, -(1 << 63))))
sizes = st.lists(wild, max_size=4)
dtypes = st.sampled_from(DTYPES)


def outcome(call: Callable[[str], Any], device: str) -> Any:
    """Returns the result on the CPU, or the kind of error."""
    try:
        result = call(device)
    except (RuntimeError, NotImplementedError) as error:
        # The CPU's refusal of memory is a plain RuntimeError.
        return RuntimeError if isinstance(error, torch.OutOfMemoryError) else type(error)
    except (IndexError, TypeError, ValueError) as error:
        return type(error)
    if isinstance(result, tuple | list):
        return [part.cpu() for part in result]
    return result.cpu()


def assert_equal_outcome(call: Callable[[str], Any], values: bool = True) -> None:
    """Asserts that both devices give the same result or the same kind of error, and no leak."""
    before = _C.live_blocks()
    cpu, npu = outcome(call, "cpu"), outcome(call, "npu")
    if isinstance(cpu, type) or isinstance(npu, type):
        assert cpu == npu
    else:
        pairs = zip(cpu, npu, strict=True) if isinstance(cpu, list) else [(cpu, npu)]
        for on_cpu, on_npu in pairs:
            assert (on_cpu.dtype, on_cpu.shape) == (on_npu.dtype, on_npu.shape)
            if values:
                torch.testing.assert_close(on_npu, on_cpu, equal_nan=True)
    del cpu, npu
    if _C.live_blocks() != before:
        gc.collect()
    assert _C.live_blocks() == before


def numbers(shape: list[int], dtype: torch.dtype, device: str) -> torch.Tensor:
    """Returns small numbers that repeat, on the device."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) % 7 - 3).to(dtype).view(shape).to(device)


@fixed
@given(sizes, dtypes, st.sampled_from(["empty", "zeros", "ones", "full", "rand", "eye", "arange"]))
def test_factories(shape, dtype, name):
    def call(device: str) -> torch.Tensor:
        torch.manual_seed(0)
        if torch.Size([max(n, 1) for n in shape]).numel() > 1 << 40:
            return torch.empty(shape, dtype=dtype, device=device)
        options = {"dtype": dtype, "device": device}
        if name == "full":
            return torch.full(shape, 2, **options)
        if name == "eye":
            return torch.eye(*shape[:2], **options)
        if name == "arange":
            return torch.arange(*[min(n, 100) for n in shape[:3]], **options)
        return getattr(torch, name)(shape, **options)

    assert_equal_outcome(call, values=name != "empty")


@fixed
@given(dimensions, sizes, sizes, wild, dtypes)
def test_as_strided_and_set(shape, size, stride, offset, dtype):
    def view(device: str) -> torch.Tensor:
        return numbers(shape, dtype, device).as_strided(size, stride, offset).clone()

    def put(device: str) -> torch.Tensor:
        x = numbers(shape, dtype, device)
        if all(0 <= n <= 6 for n in [*size, *stride, offset]):  # it may grow: only a little
            x.set_(numbers([50], dtype, device).untyped_storage(), offset, size, stride)
        return torch.empty_like(x)

    if all(n <= 6 for n in size):
        assert_equal_outcome(view)
    assert_equal_outcome(put, values=False)


VIEWS = {
    "view": lambda x, a, b: x.view(a, b),
    "reshape": lambda x, a, b: x.reshape(a, -1),
    "transpose": lambda x, a, b: x.transpose(a, b),
    "narrow": lambda x, a, b: x.narrow(0, a, b),
    "select": lambda x, a, b: x.select(a, b),
    "unfold": lambda x, a, b: x.unfold(-1, a, b),
    "unsqueeze": lambda x, a, b: x.unsqueeze(a).squeeze(b),
    "flatten": lambda x, a, b: x.flatten(a, b),
    "split": lambda x, a, b: x.split(a, b),
    "chunk": lambda x, a, b: x.chunk(a, b),
    "diagonal": lambda x, a, b: x.diagonal(a, b, -1),
    "movedim": lambda x, a, b: x.movedim(a, b),
    "slice": lambda x, a, b: x[a:b],
    "integer": lambda x, a, b: x[a, b],
    "step": lambda x, a, b: x[..., :: max(a, 1)],
    "expand": lambda x, a, b: x.expand(a if abs(a) < 9 else -7, *x.shape),
    "flip": lambda x, a, b: x.flip(a, b),
    "roll": lambda x, a, b: x.roll(a, b),
    "view_as_real": lambda x, a, b: torch.view_as_real(x),
    "dtype": lambda x, a, b: x.view(torch.int32),
}


@fixed
@given(dimensions, dtypes, st.sampled_from(list(VIEWS)), wild, wild)
def test_views(shape, dtype, name, a, b):
    assert_equal_outcome(lambda device: VIEWS[name](numbers(shape, dtype, device), a, b))


@fixed
@given(dimensions, dimensions, dtypes, dtypes, st.booleans())
def test_copies(shape, other, dtype, from_dtype, across):
    def call(device: str) -> torch.Tensor:
        source = numbers(other, from_dtype, "cpu" if across else device)
        return numbers(shape, dtype, device).copy_(source)

    assert_equal_outcome(call)


small = st.integers(-4, 5)
INDICES = {
    "index": lambda x, i, v: x[i],
    "two": lambda x, i, v: x[i, i],
    "put": lambda x, i, v: x.index_put_((i,), v, accumulate=True),
    "set": lambda x, i, v: x.__setitem__(i, v) or x,
    "index_select": lambda x, i, v: x.index_select(0, i),
    "gather": lambda x, i, v: x.gather(0, i),
    "scatter": lambda x, i, v: x.scatter(0, i, v),
    "scatter_add": lambda x, i, v: x.scatter_add(0, i, v),
    "index_add": lambda x, i, v: x.index_add(0, i, v),
    "index_copy": lambda x, i, v: x.index_copy(0, i, v),
    "index_fill": lambda x, i, v: x.index_fill(0, i, 2),
    "take": lambda x, i, v: x.take(i),
    "put_": lambda x, i, v: x.put_(i, v),
    "take_along_dim": lambda x, i, v: x.take_along_dim(i, 0),
    "mask": lambda x, i, v: x[i > 0],
    "masked_fill": lambda x, i, v: x.masked_fill(i > 0, 1),
    "masked_scatter": lambda x, i, v: x.masked_scatter(i > 0, v),
    "where": lambda x, i, v: torch.where(i > 0, x, v),
}


@fixed
@given(
    dimensions,
    st.lists(small, max_size=5),
    dimensions,
    st.sampled_from(list(INDICES)),
    st.sampled_from((torch.float32, torch.int64)),
    st.sampled_from((torch.int64, torch.int32, torch.float32)),
)
def test_indices(shape, index, values, name, dtype, index_dtype):
    def call(device: str) -> torch.Tensor:
        positions = torch.tensor(index, dtype=index_dtype, device=device)
        return INDICES[name](
            numbers(shape, dtype, device), positions, numbers(values, dtype, device)
        )

    assert_equal_outcome(call)


OUTS = {
    "add": lambda x, y, out: torch.add(x, y, out=out),
    "mm": lambda x, y, out: torch.mm(x, y, out=out),
    "matmul": lambda x, y, out: torch.matmul(x, y, out=out),
    "cat": lambda x, y, out: torch.cat([x, y], out=out),
    "stack": lambda x, y, out: torch.stack([x, y], out=out),
    "sum": lambda x, y, out: torch.sum(x, 0, out=out),
    "cumsum": lambda x, y, out: torch.cumsum(x, -1, out=out),
    "exp": lambda x, y, out: torch.exp(x, out=out),
    "where": lambda x, y, out: torch.where(x == 1, x, y, out=out),
    "gather": lambda x, y, out: torch.gather(x, 0, y.long() + 3, out=out),
    "index_select": lambda x, y, out: torch.index_select(x, 0, y.long().view(-1), out=out),
    "take": lambda x, y, out: torch.take(x, y.long(), out=out),
    "tril": lambda x, y, out: torch.tril(x, out=out),
    "softmax": lambda x, y, out: torch.softmax(x, 0, out=out),
    "maximum": lambda x, y, out: torch.maximum(x, y, out=out),
    "range": lambda x, y, out: torch.arange(3, out=out),
    "sort": lambda x, y, out: torch.sort(
        x, out=(out, torch.empty(0, dtype=torch.int64).to(x.device))
    ),
}


@pytest.mark.filterwarnings("ignore:An output with one or more elements")
@fixed
@given(
    dimensions,
    dimensions,
    dimensions,
    st.sampled_from(list(OUTS)),
    dtypes,
    st.sampled_from(DTYPES),
    st.sampled_from(["dense", "transposed", "slice", "overlap", "input"]),
)
def test_outs(shape, other, result, name, dtype, out_dtype, kind):
    def call(device: str) -> list[torch.Tensor]:
        x, y = numbers(shape, dtype, device), numbers(other, dtype, device)
        out = numbers(result, out_dtype, device)
        if kind == "transposed" and out.dim() > 1:
            out = out.transpose(0, -1)
        elif kind == "slice" and out.dim() > 0:
            out = out[..., 1:]
        elif kind == "overlap":
            out = out.new_ones(1).expand(4)
        elif kind == "input":
            out = x
        try:
            OUTS[name](x, y, out)
        except (RuntimeError, IndexError, TypeError, NotImplementedError) as error:
            # What is left of the result must be usable, whatever it holds.
            assert out.numel() * out.element_size() <= (1 << 20)
            out.clone()
            raise error from None
        return [out]

    # Unwritten elements of a result that was resized may hold anything: only the CPU's are zeroed.
    assert_equal_outcome(call)
