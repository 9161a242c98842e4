"""fairseq's attention over an operator that older cards have."""

import math
from typing import Any

import torch
from torch import nn

__all__ = ["MultiheadAttention"]


class MultiheadAttention(nn.Module):
    """Attention of several heads in one operator: on an Ascend 950 that raises, as there.

    Args:
        embed_dim: width of queries and results; `kdim` and `vdim` are those of keys and values.
        num_heads: heads, which divide `embed_dim`.
        dropout: share of zeros in the probabilities.
        bias: whether the projections add one.
        options: fairseq's further ones, which have no effect on the operator.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kdim: int | None = None,
        vdim: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        **options: Any,
    ) -> None:
        """Makes the four projections."""
        del options
        super().__init__()
        if embed_dim % num_heads != 0:
            raise ValueError(
                f"MultiheadAttention: expected embed_dim divisible by num_heads, "
                f"got {embed_dim} and {num_heads}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scaling = self.head_dim**-0.5
        self.dropout_prob = dropout
        self.k_proj = nn.Linear(kdim or embed_dim, embed_dim, bias)
        self.v_proj = nn.Linear(vdim or embed_dim, embed_dim, bias)
        self.q_proj = nn.Linear(embed_dim, embed_dim, bias)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weights as fairseq does."""
        for projection in (self.k_proj, self.v_proj, self.q_proj):
            nn.init.xavier_uniform_(projection.weight, gain=1 / math.sqrt(2))
        nn.init.xavier_uniform_(self.out_proj.weight)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bsz: int,
        tgt_len: int,
        s_len: int,
        key_padding_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        """Takes [batch x time, width]; returns the result, and None for the probabilities."""
        del s_len, options
        return self.multi_attn(query, key, value, key_padding_mask, bsz, tgt_len), None

    def multi_attn(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None,
        bsz: int,
        tgt_len: int,
    ) -> torch.Tensor:
        """Calls the operator."""
        results = torch.ops.npu.npu_multi_head_attention(
            *(query, key, value),
            *(self.q_proj.weight, self.k_proj.weight, self.v_proj.weight),
            *(key_padding_mask, self.out_proj.weight),
            *(self.q_proj.bias, self.k_proj.bias, self.v_proj.bias, self.out_proj.bias),
            *(None, self.num_heads, self.head_dim, key.size(0) // bsz, tgt_len),
            *(self.dropout_prob, True),
        )
        attended: torch.Tensor = results[0]
        return attended
