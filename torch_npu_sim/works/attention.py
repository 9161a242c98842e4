"""Fused attention: many, grouped and latent heads, and attention over selected keys."""

import torch

from torch_npu_sim.works.call import Call, Work, format_of
from torch_npu_sim.works.registry import operator

__all__: list[str] = []


@operator(
    "mha",
    "gqa",
    "mqa",
    "flash_attention",
    "flash_attention_score",
    "fused_infer_attention_score",
    "prompt_flash_attention",
    "incre_flash_attention",
    "paged_attention",
)
def attention(call: Call) -> None:
    """softmax(q k^T) v; q, k, v are [batch, length, heads, dim] unless the layout says BNSD."""
    query, key, value = (_split(call, call.tensor(i)) for i in range(3))
    work = _work(call, query, key, qk_dim=query[3], v_dim=value[3])
    out = call.empty(call.tensor(0).shape, call.tensor(0).dtype)
    call.launch(work, call.present(), [out])


@operator("mla")
def mla(call: Call) -> None:
    """Absorbed latent attention: q and k in a latent and a rotary part, v is the latent of k."""
    query, rope, key = (_split(call, call.tensor(i)) for i in range(3))
    latent = query[3]
    work = _work(call, query, key, qk_dim=latent + rope[3], v_dim=latent) | {"v_in_k": True}
    out = call.empty(call.tensor(0).shape, call.tensor(0).dtype)
    call.launch(work, [call.optional(i) for i in range(4)], [out])


@operator("sparse_flash_attention")
def sparse_attention(call: Call) -> None:
    """Latent attention whose every query reads keys of its own, `topk` of them."""
    query = _split(call, call.tensor(0))
    value = _split(call, call.tensor(2))
    topk = call.tensor(3).shape[-1]
    # Queries share no keys, so each is a batch of its own.
    work = _work(call, query, (0, topk, 1, 0), qk_dim=query[3], v_dim=value[3]) | {
        "batch": query[0] * query[1],
        "q_len": 1,
        "causal": False,
        "v_in_k": True,
        "kv_block": 1,
    }
    out = call.empty([*call.tensor(0).shape[:-1], value[3]], call.tensor(0).dtype)
    call.launch(work, call.present(), [out])


@operator("mla_prolog", "mla_prolog_v3")
def mla_prolog(call: Call) -> None:
    """Projections of latent attention: queries down and up, absorbed; keys down; norms, rotation.

    One fused kernel on the card; here its products follow one another, vectors hidden below them.
    """
    x, down, up, absorb, keys = (call.tensor(i) for i in range(5))
    tokens, hidden = x.shape[0] * x.shape[1], x.shape[2]
    heads, dim, latent = absorb.shape
    products = [
        (1, tokens, down.shape[1], hidden, [x, down]),
        (1, tokens, up.shape[1], down.shape[1], [up]),
        (heads, tokens, latent, dim, [absorb]),
        (1, tokens, keys.shape[1], hidden, [x, keys]),
    ]
    for batch, m, n, k, reads in products:
        names = {"a": format_of(x), "b": format_of(x), "out": format_of(x)}
        work = {"kind": "matmul", "batch": batch, "m": m, "n": n, "k": k} | names
        call.launch(work, reads, [call.empty([batch, m, n], x.dtype)])


def _split(call: Call, tensor: torch.Tensor) -> tuple[int, int, int, int]:
    """Returns (batch, length, heads, dim)."""
    batch, length, heads, dim = tensor.shape
    if call.attribute("inputLayout", "BSND") == "BNSD":
        length, heads = heads, length
    return batch, length, heads, dim


def _work(
    call: Call,
    query: tuple[int, int, int, int],
    key: tuple[int, int, int, int],
    *,
    qk_dim: int,
    v_dim: int,
) -> Work:
    return {
        "kind": "attention",
        "batch": query[0],
        "q_heads": query[2],
        "kv_heads": key[2],
        "q_len": query[1],
        "kv_len": key[1],
        "qk_dim": qk_dim,
        "v_dim": v_dim,
        "format": format_of(call.tensor(0)),
        "causal": bool(call.attribute("is_causal", False)),
    }
