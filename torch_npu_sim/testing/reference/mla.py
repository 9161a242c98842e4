"""The prolog of latent attention in plain torch.

Source: op-plugin@517f2e7d, docs of npu_mla_prolog_v3 and goldens of its tests.
"""

from collections.abc import Callable

import torch

from torch_npu_sim.testing.reference.cache import rms_norm, rotate_pairs

__all__ = ["expand", "prolog", "quantise_rows"]

Requantise = Callable[[torch.Tensor], torch.Tensor]


def expand(codes: torch.Tensor, scale: torch.Tensor, block: int) -> torch.Tensor:
    """Returns fp32 values of codes [rows, columns] with a scale each `block` columns."""
    return codes.float() * scale.float().repeat_interleave(block, -1)


def quantise_rows(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns codes in int8 or fp8, and the fp32 scale of each row of the last axis."""
    largest = 127.0 if dtype == torch.int8 else torch.finfo(dtype).max
    scale = x.abs().amax(-1, keepdim=True) / largest
    scaled = x / torch.where(scale == 0, 1, scale)
    return (scaled.round() if dtype == torch.int8 else scaled).to(dtype), scale


def prolog(
    x: torch.Tensor,
    weights: dict[str, torch.Tensor],
    cos: torch.Tensor,
    sin: torch.Tensor,
    requantise: Requantise,
    passes_bf16: tuple[bool, bool],
) -> dict[str, torch.Tensor]:
    """Returns query, query_rope, norm, latent and rope of keys in fp32, before they are stored.

    x [tokens, hidden] and `weights` are fp32 values: down [hidden, c], up [c, heads (D + R)],
    absorb [heads, D, latent], keys [hidden, latent + R], gamma_q, gamma_k; cos, sin [tokens, R].
    `requantise` rounds the norm as the product with `up` takes it; `passes_bf16` says whether the
    products of x, and that of the norm, pass through bf16.
    """

    def rounded(y: torch.Tensor, there: bool) -> torch.Tensor:
        return y.bfloat16().float() if there else y

    heads, nope, latent = weights["absorb"].shape
    norm = rms_norm(rounded(x @ weights["down"], passes_bf16[0]), weights["gamma_q"], 1e-5)
    norm = requantise(norm)
    per_head = rounded(norm @ weights["up"], passes_bf16[1]).view(len(x), heads, -1)
    query = torch.einsum(
        "thd,hdl->thl", per_head[..., :nope].bfloat16().float(), weights["absorb"].float()
    )
    keys = rounded(x @ weights["keys"], passes_bf16[0])
    return {
        "query": query,
        "query_rope": rotate_pairs(per_head[..., nope:], cos[:, None], sin[:, None]),
        "norm": norm,
        "latent": rms_norm(keys[:, :latent], weights["gamma_k"], 1e-5),
        "rope": rotate_pairs(keys[:, latent:], cos, sin),
    }
