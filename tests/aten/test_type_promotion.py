"""0-dim tensors, Python numbers, CPU scalars: results take the dtypes they take on the CPU."""

import itertools

import pytest
import torch

DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
)
BINARY = {
    "add": torch.add,
    "mul": torch.mul,
    "div": torch.true_divide,
    "eq": torch.eq,
    "maximum": torch.maximum,
}


def _ones(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


@pytest.mark.parametrize("op", BINARY.values(), ids=BINARY.keys())
@pytest.mark.parametrize("a,b", list(itertools.product(DTYPES, DTYPES)), ids=str)
def test_two_dtypes_promote_as_on_the_cpu(same, op, a, b) -> None:
    if {a, b} == {torch.float16, torch.complex64}:
        pytest.skip("the CPU hardly computes in complex32")
    if op is torch.maximum and torch.complex64 in (a, b):
        pytest.skip("complex numbers have no order")
    same(op, _ones((3,), a), _ones((3,), b))
    same(op, _ones((), a), _ones((3,), b))
    same(op, _ones((), a), _ones((), b))


@pytest.mark.parametrize("number", [True, 2, 2.5, 2j], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_python_numbers_promote_as_on_the_cpu(same, dtype, number) -> None:
    same(
        lambda x: [x + number, x * number, number * x, torch.where(x == 1, x, number)],
        _ones((3,), dtype),
    )
    same(lambda x: x + number, _ones((), dtype))


@pytest.mark.parametrize("a,b", list(itertools.product(DTYPES, DTYPES)), ids=str)
def test_a_cpu_scalar_tensor_mixes_with_npu_tensors(npu, a, b) -> None:
    if {a, b} == {torch.float16, torch.complex64}:
        pytest.skip("the CPU hardly computes in complex32")
    scalar = torch.ones((), dtype=b)
    x = _ones((3,), a)
    for call in (torch.add, torch.mul, torch.eq):
        expected = call(x, scalar)
        for got in (call(x.to(npu), scalar), call(scalar, x.to(npu))):
            assert got.device == npu and got.dtype == expected.dtype
            assert torch.equal(got.cpu(), expected)


def test_an_npu_scalar_does_not_mix_with_cpu_tensors(npu) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(3) + torch.ones((), device=npu)


def test_cpu_scalars_stand_in_place_out_where_and_fill(npu) -> None:
    x = torch.ones(3, device=npu)
    x += torch.tensor(2.0)
    x[0] = torch.tensor(5.0)
    x[1].copy_(torch.tensor(4.0))
    assert x.tolist() == [5.0, 4.0, 3.0]
    assert torch.where(x > 4, x, torch.tensor(0.0)).tolist() == [5.0, 0.0, 0.0]
    assert x.masked_fill(x > 4, torch.tensor(9.0)).tolist() == [9.0, 4.0, 3.0]
    assert torch.clamp(x, torch.tensor(3.5)).tolist() == [5.0, 4.0, 3.5]
    assert torch.lerp(x, x + 1, 0.5).tolist() == [5.5, 4.5, 3.5]


def test_two_npus_do_not_mix_even_as_scalars() -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(3, device="npu:0") + torch.ones((), device="npu:1")


def test_conversion_to_python_values(npu) -> None:
    assert torch.tensor(3, device=npu).item() == 3
    assert torch.tensor([[1.5]], device=npu).item() == 1.5
    assert bool(torch.tensor(True, device=npu)) is True
    assert int(torch.tensor(3.7, device=npu)) == 3
    assert float(torch.tensor(3, device=npu)) == 3.0
    assert complex(torch.tensor(1 + 2j, device=npu)) == 1 + 2j
    assert torch.tensor((1 + 2j), device=npu).conj().item() == 1 - 2j
    assert [10, 20, 30][torch.tensor(1, device=npu)] == 20
    assert list(range(5))[torch.tensor(1, device=npu) : torch.tensor(3, device=npu)] == [1, 2]
    assert torch.arange(6, device=npu).view(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.empty(0, 3, device=npu).tolist() == []
    assert [row.tolist() for row in torch.arange(4, device=npu).view(2, 2)] == [[0, 1], [2, 3]]
    assert len(torch.ones(3, 2, device=npu)) == 3
    assert 2 in torch.arange(3, device=npu)
    assert f"{torch.tensor(1.5, device=npu):.2f}" == "1.50"


def test_converting_several_elements_is_refused(npu) -> None:
    with pytest.raises(
        RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"
    ):
        torch.ones(2, device=npu).item()
    with pytest.raises(
        RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"
    ):
        bool(torch.ones(2, device=npu))


def test_repr_shows_values_device_and_gradient(npu) -> None:
    assert repr(torch.ones(2, device=npu)) == "tensor([1., 1.], device='npu:0')"
    assert repr(torch.empty(0, device=npu)) == "tensor([], device='npu:0')"
    assert (
        repr(torch.ones(1, device=npu).half())
        == "tensor([1.], device='npu:0', dtype=torch.float16)"
    )
    assert "requires_grad=True" in repr(torch.ones(2, device=npu, requires_grad=True))
    assert "grad_fn=<AddBackward0>" in repr(torch.ones(2, device=npu, requires_grad=True) + 1)
    assert repr(torch.nn.Parameter(torch.ones(1, device=npu))) == (
        "Parameter containing:\ntensor([1.], device='npu:0', requires_grad=True)"
    )
    assert "..." in repr(torch.zeros(2000, device=npu))
    assert repr(torch.tensor([1 + 2j], device=npu).conj()) == "tensor([1.-2.j], device='npu:0')"


def test_equality_of_npu_tensors_is_compared_and_reported(npu) -> None:
    torch.testing.assert_close(torch.ones(2, device=npu), torch.ones(2, device=npu))
    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 2"):
        torch.testing.assert_close(torch.tensor([1.0, 2.0], device=npu), torch.ones(2, device=npu))
    with pytest.raises(AssertionError, match="device"):
        torch.testing.assert_close(torch.ones(2, device=npu), torch.ones(2))
    torch.testing.assert_close(torch.ones(2, device=npu), torch.ones(2), check_device=False)
    assert torch.equal(torch.ones(2, device=npu), torch.ones(2, device=npu))
    assert torch.allclose(torch.ones(2, device=npu), torch.ones(2, device=npu))
