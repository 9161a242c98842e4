"""Nested tensors of both layouts on npu."""

import pytest
import torch
from torch.nn import functional as F

LAYOUTS = (torch.strided, torch.jagged)


def _parts() -> list[torch.Tensor]:
    return [torch.randn(3, 4), torch.randn(1, 4), torch.randn(5, 4)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_nested_tensor_is_made_on_npu_and_taken_apart(same, layout) -> None:
    def run(parts):
        nested = torch.nested.nested_tensor(parts, layout=layout, device=parts[0].device)
        assert nested.is_nested and nested.device == parts[0].device
        return list(nested.unbind())

    same(run, _parts())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_nested_tensor_moves_to_npu_and_back(npu, layout) -> None:
    nested = torch.nested.nested_tensor(_parts(), layout=layout)
    moved = nested.to(npu)
    assert moved.is_nested and moved.device == npu and moved.layout == layout
    back = moved.cpu()
    for one, other in zip(back.unbind(), nested.unbind(), strict=True):
        assert torch.equal(one, other)


CALLS = {
    "to_padded": lambda n: torch.nested.to_padded_tensor(n, 0.5),
    "relu": lambda n: list(torch.relu(n).unbind()),
    "add": lambda n: list((n + n).unbind()),
    "mul_scalar": lambda n: list((n * 2).unbind()),
    "softmax": lambda n: list(torch.softmax(n, -1).unbind()),
    "linear": lambda n: list(F.linear(n, torch.ones(3, 4, device=n.device)).unbind()),
    "layer_norm": lambda n: list(
        F.layer_norm(n, (4,), *torch.ones(2, 4, device=n.device)).unbind()
    ),
    "matmul": lambda n: (
        list((n @ torch.ones(4, 2, device=n.device)).unbind())
        if n.layout == torch.jagged
        else list((n @ n.transpose(1, 2)).unbind())
    ),
    "dropout": lambda n: list(F.dropout(n, 0.5).unbind()),
    "clone": lambda n: list(n.clone().unbind()),
    "detach": lambda n: list(n.detach().unbind()),
    "half": lambda n: list(n.to(torch.float16).unbind()),
    "gelu": lambda n: list(F.gelu(n).unbind()),
    "size": lambda n: [n.size(0), n.dim(), n.size(-1)],
    "neg": lambda n: list((-n).unbind()),
    "ones_like": lambda n: list(torch.ones_like(n).unbind()),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_call_on_a_nested_tensor_equals_the_cpu(same, layout, call) -> None:
    def run(parts):
        return call(torch.nested.nested_tensor(parts, layout=layout, device=parts[0].device))

    same(run, _parts())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_gradient_reaches_the_parts_of_a_nested_tensor(same, layout) -> None:
    def run(parts):
        leaves = [p.requires_grad_() for p in parts]
        nested = torch.nested.as_nested_tensor(leaves, layout=layout)
        torch.nested.to_padded_tensor(nested * 2, 0.0).square().sum().backward()
        return [p.grad for p in leaves]

    same(run, _parts())


def test_jagged_tensor_is_made_from_values_and_offsets(same) -> None:
    def run(values, offsets):
        nested = torch.nested.nested_tensor_from_jagged(values, offsets)
        return [nested.values(), nested.offsets(), *nested.unbind()]

    same(run, torch.randn(9, 4), torch.tensor([0, 3, 4, 9]))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_nested_attention_equals_the_cpu(same, layout) -> None:
    def run(parts):
        nested = torch.nested.nested_tensor(parts, layout=layout, device=parts[0].device)
        heads = nested.unflatten(-1, (2, 2)).transpose(1, 2)
        return list(F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).unbind())

    if layout == torch.strided:

        def run(parts):
            nested = torch.nested.nested_tensor(parts, layout=layout, device=parts[0].device)
            heads = nested.view(3, -1, 2, 2).transpose(1, 2).contiguous()
            return list(F.scaled_dot_product_attention(heads, heads, heads).unbind())

    same(run, _parts(), exact=False)


def test_encoder_takes_its_nested_fast_path(npu) -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    x, mask = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=mask)
        encoder.to(npu)
        got = encoder(x.to(npu), src_key_padding_mask=mask.to(npu))
    torch.testing.assert_close(got.cpu(), expected)
