"""Reductions: over all, one and several dimensions, of every layout, of nothing, into a dtype."""

import pytest
import torch

BY_DIM = {
    "sum": lambda x, **k: x.sum(**k),
    "prod": lambda x, **k: x.prod(**k),
    "mean": lambda x, **k: x.mean(**k),
    "nansum": lambda x, **k: x.nansum(**k),
    "nanmean": lambda x, **k: x.nanmean(**k),
    "var": lambda x, **k: x.var(**k),
    "std": lambda x, **k: x.std(**k),
    "logsumexp": lambda x, **k: x.logsumexp(**k),
    "norm": lambda x, **k: x.norm(**k),
    "vector_norm": lambda x, **k: torch.linalg.vector_norm(x, 3, **k),
    "amax": lambda x, **k: x.amax(**k),
    "amin": lambda x, **k: x.amin(**k),
    "max": lambda x, **k: x.max(**k),
    "min": lambda x, **k: x.min(**k),
    "argmax": lambda x, **k: x.argmax(**k),
    "argmin": lambda x, **k: x.argmin(**k),
    "aminmax": lambda x, **k: x.aminmax(**k),
    "median": lambda x, **k: x.median(**k),
    "nanmedian": lambda x, **k: x.nanmedian(**k),
    "mode": lambda x, **k: x.mode(**k),
    "any": lambda x, **k: (x > 1).any(**k),
    "all": lambda x, **k: (x > -3).all(**k),
    "quantile": lambda x, **k: x.quantile(0.3, **k),
    "kthvalue": lambda x, **k: x.kthvalue(2, **k),
    "std_mean": lambda x, **k: torch.std_mean(x, **k),
}
SCANS = {
    "cumsum": torch.cumsum,
    "cumprod": torch.cumprod,
    "cummax": torch.cummax,
    "cummin": torch.cummin,
    "logcumsumexp": torch.logcumsumexp,
    "diff": lambda x, dim: torch.diff(x, dim=dim),
    "trapezoid": lambda x, dim: torch.trapezoid(x, dim=dim),
    "cumulative_trapezoid": lambda x, dim: torch.cumulative_trapezoid(x, dim=dim),
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "renorm": lambda x, dim: torch.renorm(x, 2, dim, 1.5),
    "nonzero_count": lambda x, dim: torch.count_nonzero(x, dim),
    "unique": lambda x, dim: torch.unique(x, dim=dim, return_inverse=True, return_counts=True),
    "unique_consecutive": lambda x, dim: torch.unique_consecutive(x, dim=dim),
}
NO_IDENTITY = ("amax", "amin", "max", "min", "argmax", "argmin", "aminmax", "median", "mode")


def _values() -> torch.Tensor:
    return torch.testing.make_tensor((4, 3, 5), dtype=torch.float32, device="cpu", low=-4, high=4)


@pytest.mark.parametrize("reduce", BY_DIM.values(), ids=BY_DIM.keys())
@pytest.mark.parametrize("keepdim", [False, True], ids=["drop", "keep"])
@pytest.mark.parametrize("dim", [0, -1])
def test_reduction_of_a_dimension_equals_the_cpu(same, reduce, dim, keepdim) -> None:
    same(lambda x: reduce(x, dim=dim, keepdim=keepdim), _values())
    same(lambda x: reduce(x, dim=dim, keepdim=keepdim), _values().permute(2, 0, 1)[::2])


@pytest.mark.parametrize(
    "reduce",
    [BY_DIM[name] for name in ("sum", "mean", "var", "std", "logsumexp", "amax", "amin")],
    ids=["sum", "mean", "var", "std", "logsumexp", "amax", "amin"],
)
@pytest.mark.parametrize("dim", [(0, 1), (0, -1), (2, 1, 0)], ids=str)
def test_reduction_of_several_dimensions_equals_the_cpu(same, reduce, dim) -> None:
    same(lambda x: reduce(x, dim=dim), _values())
    same(lambda x: reduce(x, dim=dim), _values().expand(2, 4, 3, 5)[0].transpose(0, 2))


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scan_along_a_dimension_equals_the_cpu(same, scan, dim) -> None:
    same(lambda x: scan(x, dim=dim), _values())
    same(lambda x: scan(x, dim=dim), _values().permute(1, 2, 0))


@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "any", "all", "logsumexp", "norm", "nansum"]
)
def test_reduction_of_nothing_gives_the_identity_of_the_cpu(same, name) -> None:
    same(lambda x: BY_DIM[name](x, dim=0), torch.empty(0, 3))
    same(lambda x: BY_DIM[name](x, dim=1), torch.empty(0, 3))


@pytest.mark.parametrize("name", NO_IDENTITY)
def test_reduction_without_identity_refuses_nothing_as_the_cpu_does(npu, name) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises((IndexError, RuntimeError)) as error:
            BY_DIM[name](torch.empty(0, 3, device=device), dim=0)
        texts.append((error.type, str(error.value)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["amax", "max", "argmax", "median", "sum", "mode", "aminmax"])
def test_nan_reaches_the_result_as_on_the_cpu(same, name) -> None:
    x = _values()
    x[1, 1, 1] = float("nan")
    x[2] = float("inf")
    same(lambda x: BY_DIM[name](x, dim=1), x)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int64, torch.half])
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
def test_accumulating_takes_the_dtype_of_the_cpu(same, name, dtype) -> None:
    call = getattr(torch, name)
    x = torch.testing.make_tensor((5, 4), dtype=dtype, device="cpu", low=0, high=3)
    assert same(lambda x: call(x, dim=1), x).dtype in (torch.int64, torch.half)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.complex64, torch.bfloat16])
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "softmax", "nansum"])
def test_a_reduction_computes_in_the_dtype_asked_for(same, name, dtype) -> None:
    if (name == "softmax" and dtype in (torch.int32, torch.complex64)) or (
        name == "nansum" and dtype == torch.complex64
    ):
        pytest.skip("the CPU has no such kernel")
    call = getattr(torch, name)
    assert same(lambda x: call(x, dim=1, dtype=dtype), torch.ones(3, 4)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "sum", "prod", "any", "all"])
def test_reduction_of_everything_equals_the_cpu(same, name, dtype) -> None:
    x = torch.testing.make_tensor((6, 7), dtype=dtype, device="cpu", low=-3, high=4)
    same(getattr(torch, name), x)
    same(getattr(torch, name), x.t()[::2])
    same(getattr(torch, name), x[0, 0])


@pytest.mark.parametrize("name", ["sum", "amax", "mean", "prod", "norm", "logsumexp"])
@pytest.mark.parametrize("start", [(0,), (4, 3), (7,)], ids=str)
@pytest.mark.filterwarnings("ignore:An output with one or more elements")
def test_a_reduction_writes_its_out(same, name, start) -> None:
    call = getattr(torch, name)
    arguments = (2, 1) if name == "norm" else (1,)
    same(lambda x, out: call(x[:, :, 0], *arguments, out=out), _values(), torch.empty(start))


@pytest.mark.parametrize("dim", [3, -4])
@pytest.mark.parametrize("name", ["sum", "max", "cumsum", "argmax", "softmax", "median"])
def test_a_dimension_out_of_range_is_refused_in_the_words_of_the_cpu(npu, name, dim) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises(IndexError) as error:
            getattr(torch, name)(torch.ones(2, 2, 2, device=device), dim=dim)
        texts.append(str(error.value))
    assert texts[0] == texts[1]
