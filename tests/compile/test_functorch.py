"""torch.func, functionalization and AOTAutograd on npu."""

from typing import Any

import pytest
import torch
from functorch.compile import aot_function, make_boxed_func
from torch import nn
from torch.func import functional_call, functionalize, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F


def test_gradients_of_each_sample_equal_a_loop(npu: Any) -> None:
    model = nn.Linear(4, 3).to(npu)
    parameters = dict(model.named_parameters())
    x = torch.randn(5, 4, device=npu)

    def loss(parameters: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        return functional_call(model, parameters, (x,)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, x)
    for i in range(5):
        (expected,) = torch.autograd.grad(loss(parameters, x[i]), [parameters["weight"]])
        torch.testing.assert_close(each["weight"][i], expected)
    compiled = torch.compile(vmap(grad(loss), (None, 0)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(parameters, x)["weight"], each["weight"])


def test_jacobians_and_products_equal_the_formula(npu: Any) -> None:
    x = torch.randn(4, device=npu)
    slope = 1 - torch.tanh(x) ** 2
    torch.testing.assert_close(jacrev(torch.tanh)(x), torch.diag(slope))
    torch.testing.assert_close(jacfwd(torch.tanh)(x), torch.diag(slope))
    torch.testing.assert_close(jvp(torch.tanh, (x,), (torch.ones_like(x),))[1], slope)
    curvature = hessian(lambda x: torch.tanh(x).sum())(x)
    torch.testing.assert_close(curvature, torch.diag(-2 * torch.tanh(x) * slope))


def test_attention_under_vmap_equals_the_batched_one(npu: Any) -> None:
    q = torch.randn(3, 2, 4, 5, device=npu)
    expected = F.scaled_dot_product_attention(q, q, q)
    torch.testing.assert_close(vmap(F.scaled_dot_product_attention)(q, q, q), expected)


def mutate(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y.add_(1)
    y[0].mul_(2)
    return y


def test_functionalization_removes_mutations_and_keeps_the_result(npu: Any) -> None:
    x = torch.randn(3, 3, device=npu)
    graph = make_fx(functionalize(mutate, remove="mutations_and_views"))(x)
    names = [str(node.target) for node in graph.graph.nodes]
    assert not [name for name in names if "_." in name]
    assert torch.equal(graph(x), mutate(x))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_records_a_graph_that_runs_on_npu(mode: str, npu: Any) -> None:
    x = torch.randn(3, 3, device=npu)
    assert torch.equal(make_fx(mutate, tracing_mode=mode)(x)(x), mutate(x))


def test_aot_autograd_gives_a_forward_and_a_backward_graph(npu: Any) -> None:
    graphs = []

    def keep(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return make_boxed_func(graph)

    x = torch.randn(3, device=npu, requires_grad=True)
    aot_function(lambda x: torch.sin(x).sum(), fw_compiler=keep)(x).backward()
    torch.testing.assert_close(x.grad, torch.cos(x.detach()))
    assert len(graphs) == 2
