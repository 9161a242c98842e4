"""Paged caches of keys and values in plain torch, one token at a time.

Source: op-plugin@517f2e7d, tests of npu_kv_rmsnorm_rope_cache and npu_scatter_pa_kv_cache.
"""

import torch

__all__ = ["put", "put_fractal", "rms_norm", "rotate_pairs"]


def rms_norm(x: torch.Tensor, gamma: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Returns x / sqrt(mean(x^2) + epsilon) * gamma over the last axis, in fp32."""
    x = x.float()
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * gamma.float()


def rotate_pairs(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Gathers pairs of the last axis into halves and turns them by the angles, in fp32."""
    x = x.float()
    halves = torch.cat((x[..., ::2], x[..., 1::2]), -1)
    turned = torch.cat((-x[..., 1::2], x[..., ::2]), -1)
    return halves * cos.float() + turned * sin.float()


def put(cache: torch.Tensor, rows: torch.Tensor, slots: list[int]) -> torch.Tensor:
    """Returns a cache [blocks, tokens, ...] with rows at their slots; a negative one is skipped."""
    cache = cache.clone()
    for row, slot in zip(rows, slots, strict=True):
        if slot >= 0:
            cache[slot // cache.shape[1], slot % cache.shape[1]] = row.reshape(cache.shape[2:])
    return cache


def put_fractal(
    cache: torch.Tensor, rows: torch.Tensor, slots: list[int], tokens: int, piece: int
) -> torch.Tensor:
    """Returns the cache with rows of layout NZ: a block is [row / piece, tokens, piece]."""
    cache = cache.clone()
    blocks = cache.view(cache.shape[0], -1, tokens, piece)
    for row, slot in zip(rows, slots, strict=True):
        if slot >= 0:
            blocks[slot // tokens, :, slot % tokens] = row.reshape(-1, piece)
    return cache
