"""Complex numbers: conjugate and negative bits, views, products, copies in both directions."""

import pytest
import torch

SHAPES = [(0,), (1,), (3,), (3, 5), (2, 0, 3)]


@pytest.fixture(params=SHAPES, ids=str)
def z(request) -> torch.Tensor:
    return torch.randn(request.param, dtype=torch.complex64)


CALLS = {
    "conj": lambda z: z.conj(),
    "conj_physical": lambda z: z.conj_physical(),
    "resolve_conj": lambda z: z.conj().resolve_conj(),
    "imag": lambda z: z.imag,
    "imag_of_conj": lambda z: z.conj().imag,
    "resolve_neg": lambda z: z.conj().imag.resolve_neg(),
    "neg_view": lambda z: torch._neg_view(z) + 1,
    "add_conj": lambda z: z.conj() + z,
    "mul_conj": lambda z: z * z.conj() * 2,
    "abs": lambda z: z.conj().abs(),
    "angle": lambda z: z.angle(),
    "sum": lambda z: z.conj().sum(),
    "view_as_real": lambda z: torch.view_as_real(z.conj().resolve_conj()),
    "clone": lambda z: z.conj().clone(),
    "to_wider": lambda z: z.conj().to(torch.complex128),
    "add_neg": lambda z: z.conj().imag + z.real,
    "in_place": lambda z: z.conj().mul_(2j),
    "in_place_imag": lambda z: z.conj().imag.add_(1),
    "real_write": lambda z: z.real.fill_(2),
    "polar": lambda z: torch.polar(z.abs(), z.angle()),
    "complex": lambda z: torch.complex(z.real, z.imag),
    "copy_into_conj": lambda z: z.conj().copy_(z),
    "copy_from_conj": lambda z: torch.empty_like(z).copy_(z.conj()),
    "copy_from_neg": lambda z: torch.zeros_like(z.real).copy_(z.conj().imag),
    "cat": lambda z: torch.cat([z.conj(), z]),
    "exp": lambda z: z.conj().exp(),
    "contiguous": lambda z: z.conj().contiguous(),
    "eq": lambda z: z.conj() == z,
    "index": lambda z: z.conj()[:1],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_complex_call_equals_the_cpu_bits_included(same, z, call) -> None:
    same(call, z)


@pytest.mark.parametrize("mark", [torch.conj, torch._neg_view, lambda z: z.conj().imag])
@pytest.mark.parametrize("inside,outside", [("cpu", "npu"), ("npu", "cpu"), ("npu:0", "npu:1")])
def test_copy_between_devices_resolves_the_bit(z, mark, inside, outside) -> None:
    marked = mark(z.to(inside))
    assert torch.equal(marked.to(outside).cpu(), mark(z))
    into = torch.zeros_like(mark(z)).to(outside)
    into.copy_(marked)
    assert torch.equal(into.cpu(), mark(z))
    destination = mark(z.clone().to(outside))
    destination.copy_(marked)
    assert torch.equal(destination.cpu(), mark(z))


@pytest.mark.parametrize("a", [lambda x: x, torch.conj, lambda x: x.t(), lambda x: x.mH])
@pytest.mark.parametrize("b", [lambda x: x, torch.conj, lambda x: x.t(), lambda x: x.mH])
def test_product_of_conjugates_equals_the_cpu(same, a, b) -> None:
    x, y = torch.randn(3, 3, dtype=torch.complex64), torch.randn(3, 3, dtype=torch.complex64)
    same(lambda p, q: torch.mm(a(p), b(q)), x, y)
    same(lambda p, q: torch.addmm(p, a(p), b(q), alpha=2), x, y)
    same(lambda p, q: torch.bmm(a(p)[None], b(q)[None]), x, y)
    same(lambda p, q: torch.vdot(a(p)[0], b(q)[0]), x, y)
    same(lambda p, q: torch.dot(a(p)[0], b(q)[0]), x, y)
    same(lambda p, q: a(p) @ b(q)[0], x, y)


def test_gradients_of_complex_functions_equal_the_cpu(same) -> None:
    def run(z):
        (z.conj() * z.exp()).abs().sum().backward()
        return z.grad

    same(run, torch.randn(3, 5, dtype=torch.complex64).requires_grad_())


def test_fourier_transforms_equal_the_cpu(same) -> None:
    same(
        lambda x: [torch.fft.fft(x), torch.fft.rfft(x), torch.fft.ifft(torch.fft.fft(x))],
        torch.randn(3, 8),
    )
    same(
        lambda x: torch.stft(x, 8, return_complex=True, window=torch.ones(8, device=x.device)),
        torch.randn(32),
    )
    same(lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), torch.randn(4, 6))


def test_linear_algebra_on_complex_equals_the_cpu(same) -> None:
    z = torch.randn(4, 4, dtype=torch.complex64)
    same(
        lambda a: [torch.linalg.inv(a), torch.linalg.det(a.mH), torch.linalg.solve(a.conj(), a)], z
    )
    same(lambda a: torch.linalg.eigvals(a), z)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.complex32], ids=str)
def test_conj_physical_writes_in_place(same, dtype) -> None:
    same(lambda x: x.conj_physical_(), torch.randn(3, 5, dtype=torch.complex64).to(dtype))


@pytest.mark.parametrize("make", [torch.empty, torch.zeros, torch.randn], ids=lambda f: f.__name__)
def test_complex_half_is_said_to_be_experimental(npu, make) -> None:
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match="ComplexHalf support is experimental"):
            make(3, dtype=torch.chalf, device=npu)
    finally:
        torch.set_warn_always(before)
