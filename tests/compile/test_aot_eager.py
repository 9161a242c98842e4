"""backend="aot_eager": the traced operators on npu equal the program run eagerly."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torch_npu_sim.testing.tiny_models import make_inputs, make_model


def block() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))


def test_gradients_equal_the_cpu(npu: Any) -> None:
    model = block()
    on_card = copy.deepcopy(model).to(npu)
    x = torch.randn(4, 16)
    model(x).square().mean().backward()
    torch.compile(on_card, backend="aot_eager")(x.to(npu)).square().mean().backward()
    for cpu, card in zip(model.parameters(), on_card.parameters(), strict=True):
        torch.testing.assert_close(card.grad.cpu(), cpu.grad)


def test_autocast_casts_in_the_graph(npu: Any) -> None:
    model = block().to(npu)
    x = torch.randn(4, 16, device=npu)

    def cast(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("npu", dtype=torch.bfloat16):
            return model(x)

    got = torch.compile(cast, backend="aot_eager", fullgraph=True)(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, cast(x))


def test_a_custom_function_keeps_its_backward(npu: Any) -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 3 * ctx.saved_tensors[0]  # 3, not 2: this and no other rule was used

    x = torch.randn(5, device=npu, requires_grad=True)
    torch.compile(lambda x: Square.apply(x).sum(), backend="aot_eager", fullgraph=True)(
        x
    ).backward()
    torch.testing.assert_close(x.grad, 3 * x.detach())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_seed_gives_the_numbers_of_the_eager_program(backend: str, npu: Any) -> None:
    def draw(x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, 0.5) + torch.rand_like(x)

    x = torch.ones(100, device=npu)
    torch.manual_seed(3)
    expected = draw(x)
    torch.manual_seed(3)
    assert torch.equal(torch.compile(draw, backend=backend, fullgraph=True)(x), expected)


def test_attention_is_one_kernel_in_a_traced_program(npu: Any) -> None:
    import torch_npu_sim

    q = torch.randn(1, 2, 8, 16, device=npu)
    compiled = torch.compile(F.scaled_dot_product_attention, backend="aot_eager")
    compiled(q, q, q)
    with torch_npu_sim.trace() as trace:
        got = compiled(q, q, q)
    assert [kernel.name for kernel in trace.kernels] == ["attention"]
    torch.testing.assert_close(got, F.scaled_dot_product_attention(q, q, q))


def test_a_graph_break_on_a_value_keeps_the_result(npu: Any) -> None:
    def branch(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        if y.sum() > 0:
            return y + 1
        return y - 1

    x = torch.ones(4, device=npu)
    compiled = torch.compile(branch, backend="aot_eager")
    assert torch.equal(compiled(x), branch(x)) and torch.equal(compiled(-x), branch(-x))


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_a_model_equals_the_cpu(name: str, npu: Any) -> None:
    pytest.importorskip("transformers", reason="transformers is an extra: [test]")
    model, inputs = make_model(name), make_inputs(name)
    with torch.no_grad():
        expected = model(**inputs).logits
        compiled = torch.compile(model.to(npu), backend="aot_eager")
        got = compiled(**{key: value.to(npu) for key, value in inputs.items()}).logits
    torch.testing.assert_close(got.cpu(), expected, rtol=1.3e-6, atol=1e-5)
