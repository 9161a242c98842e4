"""Typed kernels are the route without its boxing: the same values, work and devices."""

from collections.abc import Callable

import pytest
import torch

import torch_npu_sim
from torch_npu_sim import Kernel

Call = Callable[..., torch.Tensor]


def make(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).add(0.5).to(dtype)


# (functional form, which is typed; out= form, which takes the route; operands)
PAIRS: dict[str, tuple[Call, Call, list[torch.Tensor]]] = {
    "add": (torch.add, torch.add, [make(6, 7), make(7)]),
    "add_alpha": (
        lambda a, b: torch.add(a, b, alpha=3),
        lambda a, b, out: torch.add(a, b, alpha=3, out=out),
        [make(6, 7), make(6, 7)],
    ),
    "add_mixed": (torch.add, torch.add, [make(5), make(5, dtype=torch.bfloat16)]),
    "sub": (torch.sub, torch.sub, [make(6, 7), make(6, 1)]),
    "mul": (torch.mul, torch.mul, [make(0, 7), make(7)]),
    "div": (torch.div, torch.div, [make(6, 7), make(6, 7)]),
    "mm": (torch.mm, torch.mm, [make(3, 5), make(5, 7)]),
    "bmm": (torch.bmm, torch.bmm, [make(2, 3, 5), make(2, 5, 7)]),
    "cat": (
        lambda a, b: torch.cat((a, b), 1),
        lambda a, b, out: torch.cat((a, b), 1, out=out),
        [make(3, 5), make(3, 2)],
    ),
    "softmax": (
        lambda a: torch._softmax(a, -1, False),
        lambda a, out: torch._softmax(a, -1, False, out=out),
        [make(3, 5)],
    ),
}


def kernel_of(call: Callable[[], object]) -> Kernel:
    torch_npu_sim.flush_l2()
    with torch_npu_sim.trace() as trace:
        call()
    (kernel,) = trace.kernels
    return kernel


@pytest.mark.parametrize("name", PAIRS)
def test_a_typed_kernel_asks_of_the_card_what_the_route_asks(name: str) -> None:
    typed, routed, operands = PAIRS[name]
    on_npu = [operand.npu() for operand in operands]
    expected = typed(*operands)
    out = torch.empty_like(expected, device="npu")
    fast, slow = kernel_of(lambda: typed(*on_npu)), kernel_of(lambda: routed(*on_npu, out=out))
    assert (fast.work, fast.bytes_read, fast.bytes_written, fast.duration_us) == (
        slow.work,
        slow.bytes_read,
        slow.bytes_written,
        slow.duration_us,
    )
    assert torch.equal(typed(*on_npu).cpu(), expected)
    assert torch.equal(out.cpu(), expected)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_a_cpu_scalar_takes_the_route_and_lands_on_the_card(name: str) -> None:
    call, x, two = getattr(torch, name), make(4, 3), torch.tensor(2.0)
    for npu, cpu in ((call(x.npu(), two), call(x, two)), (call(two, x.npu()), call(two, x))):
        assert npu.device.type == "npu"
        assert torch.equal(npu.cpu(), cpu)


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_is_one_kernel_with_three_results_on_the_card(affine: bool) -> None:
    x = make(6, 8)
    weight, bias = (make(8), make(8)) if affine else (None, None)
    parameters = [None if p is None else p.npu() for p in (weight, bias)]
    results = torch.native_layer_norm(x.npu(), (8,), *parameters, 1e-5)
    for npu, cpu in zip(results, torch.native_layer_norm(x, (8,), weight, bias, 1e-5), strict=True):
        assert npu.device.type == "npu"
        assert torch.equal(npu.cpu(), cpu)
    on_card = x.npu()
    kernel = kernel_of(lambda: torch.native_layer_norm(on_card, (8,), *parameters, 1e-5))
    assert kernel.op == "aten::native_layer_norm"
