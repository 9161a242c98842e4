"""out= variants: where the result goes, and what is refused."""

import warnings

import pytest
import torch

CALLS = {
    "add": lambda a, out: torch.add(a, a, out=out),
    "exp": lambda a, out: torch.exp(a, out=out),
    "mm": lambda a, out: torch.mm(a, a.t(), out=out),
    "sum": lambda a, out: torch.sum(a, 0, out=out),
    "cat": lambda a, out: torch.cat([a, a], out=out),
    "cumsum": lambda a, out: torch.cumsum(a, 1, out=out),
    "index_select": lambda a, out: torch.index_select(
        a, 0, torch.zeros(2, dtype=torch.long, device=a.device), out=out
    ),
    "clamp": lambda a, out: torch.clamp(a, -1, 1, out=out),
    "softmax": lambda a, out: torch.softmax(a, 1, out=out),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("start", [(0,), (3, 5), (2, 2, 2)], ids=str)
def test_out_is_resized_as_on_the_cpu_and_returned(same, call, start) -> None:
    def run(a, out):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(a, out)
        assert result is out
        return result

    same(run, torch.randn(3, 5), torch.empty(start))


@pytest.mark.parametrize("start,count", [((0,), 0), ((2, 2), 1)])
def test_resizing_a_nonempty_out_warns_as_on_the_cpu(npu, start, count) -> None:
    for device in ("cpu", npu):
        a = torch.ones(3, device=device)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.add(a, a, out=torch.empty(start, device=device))
        resized = [
            w for w in caught if "An output with one or more elements was resized" in str(w.message)
        ]
        assert len(resized) == count


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_noncontiguous_out_keeps_its_strides(same, call) -> None:
    def run(a):
        shape = call(a, torch.empty(0, device=a.device)).shape
        out = torch.zeros(tuple(reversed(shape)), device=a.device).permute(
            *reversed(range(len(shape)))
        )
        result = call(a, out)
        return result

    same(run, torch.randn(3, 5))


def test_out_may_be_the_input(same) -> None:
    same(lambda a: torch.add(a, 1, out=a), torch.randn(3, 5))
    same(lambda a: torch.exp(a.t(), out=a.t()), torch.randn(3, 5))


def test_out_of_a_wider_dtype_is_converted_to(same) -> None:
    same(
        lambda a, out: torch.add(a, a, out=out), torch.randn(3), torch.empty(3, dtype=torch.float64)
    )


def test_out_of_a_narrower_kind_is_refused(npu) -> None:
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        torch.add(torch.ones(3, device=npu), 1, out=torch.empty(3, dtype=torch.long, device=npu))


@pytest.mark.parametrize("inside,outside", [("npu", "cpu"), ("cpu", "npu"), ("npu:0", "npu:1")])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_out_on_another_device_is_refused(inside, outside, call) -> None:
    with pytest.raises(RuntimeError, match="device"):
        call(torch.ones(3, 5, device=inside), torch.empty(3, 5, device=outside))


MIXED = {
    "add": torch.add,
    "mm": torch.mm,
    "dot": lambda a, b: torch.dot(a[0], b[0]),
    "bmm": lambda a, b: torch.bmm(a[None], b[None]),
    "addmm": lambda a, b: torch.addmm(a, a, b),
    "cat": lambda a, b: torch.cat([a, b]),
    "stack": lambda a, b: torch.stack([a, b]),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "linear": torch.nn.functional.linear,
    "layer_norm": lambda a, b: torch.nn.functional.layer_norm(a, (3,), b[0], b[0]),
    "conv": lambda a, b: torch.conv1d(a[None], b[:, :, None]),
    "embedding": lambda a, b: torch.nn.functional.embedding(a.long(), b),
    "index_select": lambda a, b: a.index_select(0, b[0].long()),
    "gather": lambda a, b: a.gather(0, b.long()),
    "mse": torch.nn.functional.mse_loss,
    "foreach": lambda a, b: torch._foreach_add([a], [b]),
}


@pytest.mark.parametrize("call", MIXED.values(), ids=MIXED.keys())
@pytest.mark.parametrize("inside,outside", [("npu", "cpu"), ("cpu", "npu"), ("npu:0", "npu:1")])
def test_mixed_inputs_are_refused(inside, outside, call) -> None:
    a, b = torch.ones(3, 3, device=inside), torch.ones(3, 3, device=outside)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        call(a, b)


def test_several_outs_are_all_written(same) -> None:
    def run(a, values, indices):
        torch.sort(a, dim=1, out=(values, indices))
        torch.max(a, dim=0, out=(values[0], indices[0]))
        return values, indices

    same(run, torch.randn(3, 5), torch.empty(3, 5), torch.empty(3, 5, dtype=torch.long))


def test_arange_and_linspace_fill_an_out(same) -> None:
    same(lambda out: torch.arange(7, out=out), torch.empty(0, dtype=torch.long))
    same(lambda out: torch.arange(0, 1, 0.25, out=out), torch.empty(2, 2))
    same(lambda out: torch.linspace(0, 1, 5, out=out), torch.empty(0))
    same(lambda out: torch.zeros(2, 3, out=out), torch.empty(0))
    same(lambda out: torch.randn(2, 3, out=out), torch.empty(0))
    same(lambda out: torch.eye(3, out=out), torch.empty(0))


def test_a_view_given_as_out_grows_only_by_its_own_storage(npu) -> None:
    x = torch.zeros(4, device=npu)
    torch.arange(4.0, out=x[:4])
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_an_out_that_a_refused_call_has_resized_is_as_on_the_cpu(same) -> None:
    def run(empty, full):
        with pytest.raises(RuntimeError, match="single memory location"):
            torch.cat((empty, full), out=empty)
        return empty.shape, empty.zero_()

    same(run, torch.zeros(0), torch.ones(4, 6))


def test_out_takes_the_conjugate_bit_that_a_solver_sets(same) -> None:
    a = torch.randn(3, 3, dtype=torch.complex64)

    def run(a, b, out):
        factors, pivots = torch.linalg.lu_factor(a)
        return torch.linalg.lu_solve(factors, pivots, b, left=False, adjoint=True, out=out)

    same(run, a, torch.randn(4, 3, dtype=torch.complex64), torch.zeros(4, 3, dtype=a.dtype))
