"""Scatter, gather and the index_* family: every reduction, duplicates, broadcasts, refusals."""

import pytest
import torch

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.float64)
INDEX = [[0, 1, 2, 0], [2, 2, 0, 1], [1, 0, 1, 1]]


def _values(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    target = torch.testing.make_tensor((3, 4), dtype=dtype, device="cpu", low=1, high=5)
    source = torch.testing.make_tensor((3, 4), dtype=dtype, device="cpu", low=1, high=5)
    return target, torch.tensor(INDEX), source


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("include_self", [True, False], ids=["with_self", "without_self"])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce_equals_the_cpu(same, reduce, include_self, dim, dtype) -> None:
    def run(target, index, source):
        return target.scatter_reduce(dim, index, source, reduce, include_self=include_self)

    same(run, *_values(dtype))


CALLS = {
    "gather": lambda x, i, s: x.gather(0, i),
    "gather_second": lambda x, i, s: x.gather(1, i),
    "scatter_value": lambda x, i, s: x.scatter(0, i, 3),
    "scatter_value_add": lambda x, i, s: x.scatter(0, i, 3, reduce="add"),
    "scatter_value_multiply": lambda x, i, s: x.scatter(0, i, 3, reduce="multiply"),
    "scatter_add": lambda x, i, s: x.scatter_add(0, i, s),
    "scatter_add_part": lambda x, i, s: x.scatter_add(1, i[:2, :3], s),
    "index_add": lambda x, i, s: x.index_add(1, i[0], s),
    "index_add_alpha": lambda x, i, s: x.index_add(1, i[0], s, alpha=2),
    "index_copy": lambda x, i, s: x.index_copy(0, i[0, :3], s),
    "index_fill": lambda x, i, s: x.index_fill(1, i[2], 7),
    "index_reduce_prod": lambda x, i, s: x.index_reduce(1, i[0], s, "prod"),
    "index_reduce_amax": lambda x, i, s: x.index_reduce(1, i[0], s, "amax", include_self=False),
    "put": lambda x, i, s: x.put(i, s),
    "put_accumulate": lambda x, i, s: x.put(i, s, accumulate=True),
    "take": lambda x, i, s: x.take(i),
    "masked_scatter": lambda x, i, s: x.masked_scatter(i > 0, s),
    "masked_fill": lambda x, i, s: x.masked_fill(i == 1, 2),
    "select_scatter": lambda x, i, s: x.select_scatter(s[0], 0, 1),
    "slice_scatter": lambda x, i, s: x.slice_scatter(s[:, :2], 1, 0, 4, 2),
    "diagonal_scatter": lambda x, i, s: x.diagonal_scatter(s[0, :3]),
    "as_strided_scatter": lambda x, i, s: x.as_strided_scatter(s[:2, :2], (2, 2), (1, 2)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_indexed_write_or_read_equals_the_cpu(same, call, dtype) -> None:
    same(call, *_values(dtype))


# torch derives neither a reduction by name nor a source larger than its index.
UNDERIVED = ("scatter_value_add", "scatter_value_multiply", "scatter_add_part")


@pytest.mark.parametrize("name", [name for name in CALLS if name not in UNDERIVED])
def test_gradients_of_indexed_writes_equal_the_cpu(same, name) -> None:
    def run(target, index, source):
        result = CALLS[name](target * 2, index, source * 3)
        return torch.autograd.grad((result * result).sum(), (target, source), allow_unused=True)

    target, index, source = _values(torch.float64)
    same(run, target.requires_grad_(), index, source.requires_grad_())


REFUSED = {
    "gather_beyond": lambda d: torch.ones(2, device=d).gather(0, torch.tensor([2], device=d)),
    "scatter_beyond": lambda d: torch.ones(2, device=d).scatter(0, torch.tensor([5], device=d), 1),
    "index_select_beyond": lambda d: torch.ones(2, device=d).index_select(
        0, torch.tensor([2], device=d)
    ),
    "gather_int32": lambda d: torch.ones(2, device=d).gather(
        0, torch.zeros(1, dtype=torch.int16, device=d)
    ),
    "scatter_dtype": lambda d: torch.ones(2, device=d).scatter(
        0, torch.tensor([0], device=d), torch.ones(1, dtype=torch.float64, device=d)
    ),
    "index_add_shape": lambda d: torch.ones(2, 2, device=d).index_add(
        0, torch.tensor([0], device=d), torch.ones(2, 2, device=d)
    ),
    "scatter_reduce_name": lambda d: torch.ones(2, device=d).scatter_reduce(
        0, torch.tensor([0], device=d), torch.ones(1, device=d), "median"
    ),
    "take_beyond": lambda d: torch.ones(2, device=d).take(torch.tensor([-3], device=d)),
    "masked_scatter_short": lambda d: torch.ones(3, device=d).masked_scatter(
        torch.ones(3, dtype=torch.bool, device=d), torch.ones(2, device=d)
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_index_is_refused_in_the_words_of_the_cpu(npu, call) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises((RuntimeError, IndexError)) as error:
            call(device)
        texts.append((error.type, str(error.value)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["gather", "scatter_add", "index_add", "index_fill", "take"])
def test_an_index_on_the_cpu_is_refused(npu, name) -> None:
    target, index, source = _values(torch.float32)
    with pytest.raises(RuntimeError, match="same device"):
        CALLS[name](target.to(npu), index, source.to(npu))
