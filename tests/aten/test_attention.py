"""scaled_dot_product_attention on npu equals the CPU's, forward and backward."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

MASKS = {
    "none": lambda rows, keys: None,
    "bool": lambda rows, keys: torch.ones(rows, keys, dtype=torch.bool).tril(),
    "additive": lambda rows, keys: torch.randn(rows, keys),
    "broadcast": lambda rows, keys: torch.randn(1, 1, rows, keys),
    "per_head": lambda rows, keys: torch.randn(2, 4, rows, keys),
    "row_masked": lambda rows, keys: torch.zeros(rows, keys, dtype=torch.bool),
    "strided": lambda rows, keys: torch.randn(keys, rows).t(),
}


def _qkv(length: int, keys: int, heads: int = 4, kv_heads: int = 4) -> list[torch.Tensor]:
    return [
        torch.randn(2, n, s, 8).requires_grad_()
        for n, s in ((heads, length), (kv_heads, keys), (kv_heads, keys))
    ]


def _run(call):
    def run(qkv, *rest):
        for t in qkv:
            t.requires_grad_()
        out = call(*qkv, *rest)
        out.square().sum().backward()
        return [out, *[t.grad for t in qkv]]

    return run


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("length,keys", [(5, 5), (1, 7), (7, 3)])
def test_masked_attention_equals_the_cpu(same, mask, length, keys) -> None:
    same(
        _run(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m)),
        _qkv(length, keys),
        mask(length, keys),
    )


@pytest.mark.parametrize("length,keys", [(5, 5), (3, 7)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_causal_attention_equals_the_cpu(same, length, keys, scale) -> None:
    same(
        _run(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)),
        _qkv(length, keys),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_query_attention_equals_the_cpu(same, causal) -> None:
    same(
        _run(
            lambda q, k, v: F.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=True
            )
        ),
        _qkv(5, 5, 4, 2),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_attention_in_other_dtypes_equals_the_cpu(same, dtype) -> None:
    qkv = [t.detach().to(dtype) for t in _qkv(5, 5)]
    same(_run(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)), qkv)


def test_attention_in_three_and_five_dimensions_equals_the_cpu(same) -> None:
    same(lambda x: F.scaled_dot_product_attention(x, x, x), torch.randn(3, 5, 8))
    same(lambda x: F.scaled_dot_product_attention(x, x, x), torch.randn(2, 2, 3, 5, 8))
    same(lambda x: F.scaled_dot_product_attention(x, x, x), torch.randn(5, 8))


def test_attention_over_nothing_equals_the_cpu(same) -> None:
    same(
        lambda q, k: F.scaled_dot_product_attention(q, k, k),
        torch.randn(2, 4, 0, 8),
        torch.randn(2, 4, 3, 8),
    )


@pytest.mark.parametrize("inside,outside", [("npu", "cpu"), ("cpu", "npu"), ("npu:0", "npu:1")])
def test_attention_over_two_devices_is_refused(inside, outside) -> None:
    q, k = torch.ones(1, 1, 3, 8, device=inside), torch.ones(1, 1, 3, 8, device=outside)
    with pytest.raises(
        RuntimeError, match="Expected query, key, and value to have the same device type"
    ):
        F.scaled_dot_product_attention(q, k, k)


@pytest.mark.parametrize("backend", ["MATH", "FLASH_ATTENTION"])
def test_a_chosen_backend_is_used(same, backend) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def run(qkv):
        with sdpa_kernel(getattr(SDPBackend, backend)):
            return _run(F.scaled_dot_product_attention)(qkv)

    same(run, _qkv(5, 5))


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention_equals_the_cpu(same, need_weights, training) -> None:
    def run(x, mask):
        torch.manual_seed(0)
        module = torch.nn.MultiheadAttention(8, 2, batch_first=True).to(x.device).train(training)
        with torch.set_grad_enabled(training):
            out, weights = module(x, x, x, key_padding_mask=mask, need_weights=need_weights)
        if training:
            out.sum().backward()
        return [out.detach(), 0 if weights is None else weights.detach()]

    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    # In inference the CPU has one kernel for all of it, which may round in another order.
    same(run, torch.randn(2, 5, 8), mask, exact=training)


def test_attention_under_vmap_equals_the_cpu(same) -> None:
    detached = [x.detach() for x in _qkv(5, 7)]
    same(torch.func.vmap(F.scaled_dot_product_attention), *detached)


def test_attention_on_fake_tensors_has_the_shape_of_the_real_one(npu) -> None:
    q, k, v = (x.to(npu) for x in _qkv(5, 7))
    with FakeTensorMode() as mode:
        fake = F.scaled_dot_product_attention(*(mode.from_tensor(x) for x in (q, k, v)))
    real = F.scaled_dot_product_attention(q, k, v)
    assert (fake.shape, fake.stride(), fake.device) == (real.shape, real.stride(), real.device)
