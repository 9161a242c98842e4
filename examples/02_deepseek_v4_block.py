"""Lesson 2: a DeepSeek-V4 block of fused operators, beside the same block op by op.

Builds one decoder layer of transformers' DeepSeek-V4 with random weights, and the same layer of the
operators that clients of the real card call (`torch.ops.custom`, `torch_npu`): hyper-connections,
compressor, indexer, attention over a window and compressed keys, gating, routing and grouped
products. Runs a prompt and one decoding step through both on npu:0, checks one against the other,
and says where the simulated time goes.

    python examples/02_deepseek_v4_block.py [--layer csa|hca|swa] [--tokens N] [--flash]
        [--experts bf16|mxfp8|mxfp4]

`--flash` takes the sizes of V4-Flash, with 16 of its 256 experts.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DeepseekV4Config, DynamicCache
from transformers.models.deepseek_v4.modeling_deepseek_v4 import (
    DeepseekV4DecoderLayer,
    DeepseekV4RotaryEmbedding,
)

import torch_npu_sim as torch_npu
from torch_npu_sim.testing.expert_products import FORMATS, ExpertProducts, experts_error
from torch_npu_sim.testing.side_by_side import compare
from torch_npu_sim.testing.v4_layer import LAYERS, make_config, make_layer

BF16, E4M3 = torch.bfloat16, torch.float8_e4m3fn
BLOCK = 128  # tokens a block of every cache


class Unfused:
    """transformers' layer with its cache, op by op."""

    def __init__(self, layer: DeepseekV4DecoderLayer, config: DeepseekV4Config) -> None:
        """Moves the layer to npu:0."""
        self.layer, self.config = layer.npu(), config
        self.rotary = DeepseekV4RotaryEmbedding(config).npu()
        self.cache = DynamicCache(config=config)
        self.seen = 0

    def parts(self) -> dict[str, nn.Module]:
        """The layer's parts by the names of those of the fused form."""
        attention = self.layer.self_attn
        inner = attention.compressor
        return {
            "attention": attention,
            **({} if inner is None else {"compressed keys": inner}),
            "experts": self.layer.mlp,
        }

    def prepare(self, batch: int, tokens: int) -> dict[str, Any]:
        """What all layers of a model share in one step: angles and the mask of the window."""
        last = self.seen + tokens
        positions = torch.arange(self.seen, last, device="npu").expand(batch, -1)
        like, window = torch.empty(0, dtype=BF16, device="npu"), self.config.sliding_window
        distance = positions[0, :, None] - torch.arange(
            max(0, self.seen - window + 1), last, device="npu"
        )
        hidden = (distance < 0) | (distance >= window)
        mask = torch.zeros(hidden.shape, dtype=BF16, device="npu").masked_fill(hidden, -torch.inf)
        self.seen = last
        return {
            "position_embeddings": {
                kind: self.rotary(like, position_ids=positions, layer_type=kind)
                for kind in ("main", "compress")
            },
            "position_ids": positions,
            "attention_mask": mask.expand(batch, 1, -1, -1),
        }

    def __call__(self, streams: Tensor, input_ids: Tensor, step: dict[str, Any]) -> Tensor:
        """Runs the next tokens: streams [batch, tokens, 4, hidden]."""
        return self.layer(streams, input_ids=input_ids, past_key_values=self.cache, **step)


class Pages:
    """Blocks of a cache: those of a sequence follow each other; block 0 belongs to nobody."""

    def __init__(self, batch: int, most: int) -> None:
        """Makes the table of `batch` sequences of at most `most` tokens."""
        self.each = -(-most // BLOCK)
        table = 1 + torch.arange(batch * self.each, dtype=torch.int32)
        self.table = table.view(batch, self.each).npu()
        self.count = 1 + batch * self.each

    def slots(self, first: int, last: int) -> Tensor:
        """Slots of positions first .. last of every sequence, int32 [batch x positions]."""
        return (self.table[:, :1] * BLOCK + torch.arange(first, last, device="npu")).flatten().int()


def angles_of(
    rotary: DeepseekV4RotaryEmbedding, positions: Tensor, kind: str
) -> tuple[Tensor, Tensor]:
    """Returns cos and sin [positions, rope width] in fp32, rounded as transformers rounds them."""
    like = torch.empty(0, dtype=BF16, device="npu")
    halves = rotary(like, position_ids=positions[None], layer_type=kind)
    cos, sin = (a[0].float().repeat_interleave(2, -1) for a in halves)
    return cos, sin


@dataclass
class Step:
    """What all layers of a model share in one step: lengths, angles, slots and plans."""

    shape: tuple[int, int]  # batch, tokens
    starts: Tensor  # running sums of the tokens from 0
    first: Tensor  # positions of the first tokens
    total: Tensor  # tokens of each sequence, with those of this step
    turn: tuple[Tensor, Tensor]  # cos and sin [batch, tokens, 1, rope width]
    back: Tensor  # -sin
    slots: Tensor  # of the tokens' own keys
    compressed: tuple[Tensor, Tensor, Tensor] | None  # sin and cos of compressed keys, their slots
    plan: Tensor  # of the attention
    index_plan: Tensor | None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotates the last channels of x [batch, tokens, heads, width] in place."""
    part = [x.shape[-1] - cos.shape[-1], x.shape[-1]]
    torch.ops.custom.inplace_partial_rotary_mul(
        x, cos, sin, rotary_mode="interleave", partial_slice=part
    )


class Compressor(nn.Module):
    """Keys of `ratio` tokens made one: weights and states."""

    def __init__(self, weights: nn.Module, batch: int, most: int, rope: int) -> None:
        """Takes the weights of a compressor of transformers."""
        super().__init__()
        self.kv, self.gate = weights.kv_proj.weight, weights.gate_proj.weight
        self.ape, self.norm = weights.position_bias.float(), weights.kv_norm.weight.float()
        self.eps, self.ratio, self.rope = weights.kv_norm.variance_epsilon, self.ape.shape[0], rope
        self.coff = self.kv.shape[0] // self.norm.shape[0]
        self.states = Pages(batch, most)
        shape = (self.states.count, BLOCK, 2 * self.kv.shape[0])
        self.state_cache = torch.zeros(shape, device="npu")

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """Returns keys [rows, width]; rows past the last key are zeros."""
        assert step.compressed is not None
        sin, cos, _ = step.compressed
        return torch.ops.custom.compressor(
            x.flatten(0, 1), self.kv, self.gate, self.state_cache, self.ape, self.norm, sin, cos,
            rope_head_dim=self.rope, cmp_ratio=self.ratio, state_block_table=self.states.table,
            cu_seqlens=step.starts, start_pos=step.first, coff=self.coff, norm_eps=self.eps,
            rotary_mode=2,
        )  # fmt: skip


def hadamard(width: int) -> Tensor:
    """Returns the orthogonal Hadamard matrix of a power of two."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return (matrix * width**-0.5).to(BF16).npu()


class Indexer(nn.Module):
    """Chooses compressed keys for each query, from quantised keys of its own."""

    def __init__(self, weights: nn.Module, pages: Pages, batch: int, most: int, rope: int) -> None:
        """Takes the weights of an indexer of transformers; `pages` are those of the keys."""
        super().__init__()
        self.compressor = Compressor(weights, batch, most, rope)
        self.query, self.weights = weights.q_b_proj.weight, weights.scorer.weights_proj.weight
        self.heads, self.width, self.topk = weights.num_heads, weights.head_dim, weights.index_topk
        self.turn, self.table = hadamard(self.width), pages.table
        self.cache = torch.zeros(pages.count, BLOCK, 1, self.width, device="npu").to(E4M3)
        self.scale = torch.zeros(pages.count, BLOCK, 1, 1, device="npu")

    def form(self, step: Step) -> dict[str, Any]:
        """Lengths and modes, as the operator and its plan take them."""
        return {
            "actual_seq_lengths_query": step.starts[1:],
            "actual_seq_lengths_key": step.total,
            "layout_query": "TND",
            "layout_key": "PA_BSND",
            "sparse_count": self.topk,
            "cmp_ratio": self.compressor.ratio,
        }

    def plan(self, step: Step) -> Tensor:
        """How the cores share out the work."""
        return torch.ops.custom.npu_quant_lightning_indexer_metadata(
            self.heads, 1, self.width, 0, 0, **self.form(step)
        )

    def forward(self, x: Tensor, latent: Tensor, step: Step) -> Tensor:
        """Returns int32 [tokens, 1, keys chosen]."""
        assert step.compressed is not None
        keys = self.compressor(x, step) @ self.turn
        torch.ops.custom.indexer_compress_epilog(self.cache, self.scale, keys, step.compressed[2])
        query = F.linear(latent, self.query).view(*step.shape, self.heads, self.width)
        rotate(query, *step.turn)
        codes, scale = torch_npu.npu_dynamic_block_quant(
            query.view(-1, self.width) @ self.turn, dst_type=24
        )
        factor = (self.width * self.heads) ** -0.5
        chosen, _ = torch.ops.custom.npu_quant_lightning_indexer(
            codes.view(-1, self.heads, self.width), self.cache,
            F.linear(x, self.weights).view(-1, self.heads).float() * factor,
            scale.view(-1, self.heads), self.scale.squeeze(-1), 0, 0, block_table=self.table,
            metadata=step.index_plan, **self.form(step),
        )  # fmt: skip
        return chosen


def new_cache(batch: int, most: int, width: int) -> tuple[Pages, Tensor]:
    """An empty cache of keys in bf16."""
    pages = Pages(batch, most)
    return pages, torch.zeros(pages.count, BLOCK, 1, width, dtype=BF16, device="npu")


def store(cache: Tensor, rows: Tensor, slots: Tensor) -> None:
    """Writes rows to the slots of a cache; slots of -1 are left out."""
    width = cache.shape[-1]
    torch.ops.custom.scatter_nd_update_asc(
        cache.view(-1, width), slots[:, None], rows.view(-1, width)
    )


class CompressedKeys(nn.Module):
    """Compressed keys of all tokens so far, and which of them each query sees."""

    def __init__(
        self, weights: nn.Module | None, config: DeepseekV4Config, batch: int, most: int
    ) -> None:
        """Takes the weights of a compressor of transformers; None where a layer has none."""
        super().__init__()
        self.ratio = 1
        self.compressor: Compressor | None = None
        self.indexer: Indexer | None = None
        if weights is None:
            return
        rope = config.qk_rope_head_dim
        self.compressor = Compressor(weights, batch, most, rope)
        self.ratio = self.compressor.ratio
        self.pages, self.cache = new_cache(batch, -(-most // self.ratio), config.head_dim)
        if hasattr(weights, "indexer"):
            self.indexer = Indexer(weights.indexer, self.pages, batch, most, rope)

    def forward(self, x: Tensor, latent: Tensor, step: Step) -> dict[str, Tensor]:
        """Compresses what came, and returns what attention gets to know of compressed keys."""
        if self.compressor is None or step.compressed is None:
            return {}
        store(self.cache, self.compressor(x, step), step.compressed[2])
        known = {"cmp_kv": self.cache, "cmp_block_table": self.pages.table}
        if self.indexer is not None:
            known["cmp_sparse_indices"] = self.indexer(x, latent, step)
        return known


class Attention(nn.Module):
    """Attention over a window of own keys and compressed ones, with paged caches."""

    def __init__(self, weights: nn.Module, config: DeepseekV4Config, batch: int, most: int) -> None:
        """Takes the weights of an attention of transformers."""
        super().__init__()
        self.w, self.config = weights, config
        self.width, self.heads = config.head_dim, config.num_attention_heads
        self.ones = torch.ones(self.width, device="npu")
        self.groups = weights.o_a_proj.weight.view(config.o_groups, config.o_lora_rank, -1)
        self.pages, self.cache = new_cache(batch, most, self.width)
        self.compressed = CompressedKeys(weights.compressor, config, batch, most)
        self.ratio = self.compressed.ratio

    def norm(self, x: Tensor, gamma: Tensor) -> Tensor:
        """RMS norm over the width of gamma."""
        return torch_npu.npu_rms_norm(x, gamma, self.config.rms_norm_eps)[0]

    def form(self, step: Step) -> dict[str, Any]:
        """Lengths and modes, as the operator and its plan take them."""
        return {
            "cu_seqlens_q": step.starts,
            "seqused_kv": step.total,
            "cmp_ratio": self.ratio,
            "ori_win_left": self.config.sliding_window - 1,
            "layout_q": "TND",
        }

    def plan(self, step: Step) -> Tensor:
        """How the cores share out the work."""
        return torch.ops.custom.npu_sparse_attn_sharedkv_metadata(
            self.heads, 1, self.width, **self.form(step)
        )

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        w, shape = self.w, (*step.shape, self.heads, self.width)
        latent = self.norm(F.linear(x, w.q_a_proj.weight), w.q_a_norm.weight)
        query = self.norm(F.linear(latent, w.q_b_proj.weight).view(shape), self.ones)
        rotate(query, *step.turn)
        key = self.norm(F.linear(x, w.kv_proj.weight), w.kv_norm.weight)
        rotate(key.unsqueeze(2), *step.turn)
        store(self.cache, key, step.slots)
        seen, _ = torch.ops.custom.npu_sparse_attn_sharedkv(
            query.view(-1, self.heads, self.width), ori_kv=self.cache,
            ori_block_table=self.pages.table, sinks=w.sinks, metadata=step.plan,
            softmax_scale=w.scaling, **self.form(step), **self.compressed(x, latent, step),
        )  # fmt: skip
        rotate(seen.view(shape), step.turn[0], step.back)
        out = torch_npu.npu_transpose_batchmatmul(
            seen.view(seen.shape[0], len(self.groups), -1), self.groups.transpose(1, 2),
            perm_x1=(1, 0, 2), perm_x2=(0, 1, 2), perm_y=(1, 0, 2),
        )  # fmt: skip
        return F.linear(out.view(*step.shape, -1), w.o_b_proj.weight)


class Experts(nn.Module):
    """Gating, the routed experts as grouped products, and the shared expert."""

    def __init__(self, weights: nn.Module, config: DeepseekV4Config, form: str) -> None:
        """Takes the weights of a mixture of experts of transformers, and a format for them."""
        super().__init__()
        self.config, self.router = config, weights.gate.weight
        self.table = weights.gate.tid2eid.int() if weights.is_hash else None
        self.bias = None if weights.is_hash else weights.gate.e_score_correction_bias.float()
        self.up = ExpertProducts(weights.experts.gate_up_proj, form)
        self.down = ExpertProducts(weights.experts.down_proj, form)
        shared = weights.shared_experts
        self.shared_up = torch.cat([shared.gate_proj.weight, shared.up_proj.weight])
        self.shared_down = shared.down_proj.weight

    def gate(self, x: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and experts [tokens, k]."""
        weights, experts, _ = torch.ops.custom.npu_moe_gating_top_k(
            F.linear(x, self.router).float(), self.config.num_experts_per_tok, bias=self.bias,
            input_ids=None if self.table is None else input_ids.flatten(), tid2eid=self.table,
            norm_type=2, routed_scaling_factor=self.config.routed_scaling_factor,
        )  # fmt: skip
        return weights, experts

    def activated(self, x: Tensor) -> Tensor:
        """SwiGLU of clamped halves."""
        return torch_npu.npu_clipped_swiglu(
            x, alpha=1.0, limit=self.config.swiglu_limit, bias=0.0, interleaved=False
        )

    def forward(self, x: Tensor, input_ids: Tensor) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        flat = x.view(-1, x.shape[-1])
        weights, experts = self.gate(flat, input_ids)
        rows, places, counts, _ = torch.ops.custom.npu_moe_init_routing_group_quant(
            flat, experts, active_num=experts.numel(), expert_num=len(self.up), drop_pad_mode=0,
            expert_tokens_num_type=1, expert_tokens_num_flag=True, quant_mode=-1,
            active_expert_range=[0, len(self.up)], row_idx_type=0,
        )  # fmt: skip
        groups = {"group_list": counts, "split_item": 3, "group_type": 0, "group_list_type": 1}
        routed = self.down(self.activated(self.up(rows, groups)), groups)
        shared = F.linear(self.activated(F.linear(flat, self.shared_up)), self.shared_down)
        out = torch_npu.npu_moe_finalize_routing(
            routed, shared, None, None, weights, places, None, drop_pad_mode=2
        )
        return out.view(x.shape)


class Fused:
    """The same layer of fused operators."""

    def __init__(
        self,
        layer: DeepseekV4DecoderLayer,
        config: DeepseekV4Config,
        batch: int,
        most: int,
        form: str = "bf16",
    ) -> None:
        """Takes the weights of transformers' layer and makes caches for `most` tokens.

        The products of routed experts are in `form`, a key of `FORMATS`.
        """
        torch_npu.enable_custom_ops()
        self.w, self.config, self.seen = layer.npu(), config, 0
        self.rotary = DeepseekV4RotaryEmbedding(config).npu()
        self.attention = Attention(self.w.self_attn, config, batch, most)
        self.experts = Experts(self.w.mlp, config, form)

    def parts(self) -> dict[str, nn.Module]:
        """Parts by name, an inner one behind its outer one."""
        attention = self.attention
        inner = {} if attention.ratio == 1 else {"compressed keys": attention.compressed}
        return {"attention": attention, **inner, "experts": self.experts}

    def prepare(self, batch: int, tokens: int) -> Step:
        """What all layers of a model share in one step."""
        last = self.seen + tokens
        positions = torch.arange(self.seen, last, device="npu")
        cos, sin = angles_of(self.rotary, positions, self.w.self_attn.rope_layer_type)
        cos, sin = (a[None, :, None].repeat(batch, 1, 1, 1) for a in (cos, sin))

        def each(values: Iterable[int]) -> Tensor:
            return torch.tensor(list(values), dtype=torch.int32, device="npu")

        step = Step(
            shape=(batch, tokens),
            starts=each(range(0, batch * tokens + 1, tokens)),
            first=each([self.seen] * batch),
            total=each([last] * batch),
            turn=(cos, sin),
            back=-sin,
            slots=self.attention.pages.slots(self.seen, last),
            compressed=self.compressed(batch, self.seen, last),
            plan=torch.empty(0),
            index_plan=None,
        )
        step.plan = self.attention.plan(step)
        indexer = self.attention.compressed.indexer
        if indexer is not None:
            step.index_plan = indexer.plan(step)
        self.seen = last
        return step

    def compressed(self, batch: int, first: int, last: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Angles and slots of the keys that are complete after tokens first .. last."""
        ratio = self.attention.ratio
        if ratio == 1:
            return None
        tokens = batch * (last - first)
        rows = min(tokens, tokens // ratio + batch)
        windows = torch.arange(first // ratio, last // ratio, device="npu")
        angles = angles_of(self.rotary, windows * ratio, "compress")
        cos, sin = (F.pad(a.repeat(batch, 1), (0, 0, 0, rows - batch * len(a))) for a in angles)
        slots = self.attention.compressed.pages.slots(first // ratio, last // ratio)
        return sin, cos, F.pad(slots, (0, rows - len(slots)), value=-1)

    def around(
        self, streams: Tensor, gates: nn.Module, norm: nn.Module, block: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """One block between the gates of its hyper-connection."""
        x, post, comb = torch.ops.custom.npu_hc_pre(
            streams, gates.fn, gates.scale, gates.base, hc_mult=4,
            hc_sinkhorn_iters=self.config.hc_sinkhorn_iters, norm_eps=self.config.rms_norm_eps,
            hc_eps=self.config.hc_eps,
        )  # fmt: skip
        x = torch_npu.npu_rms_norm(x, norm.weight, self.config.rms_norm_eps)[0]
        return torch.ops.custom.npu_hc_post(block(x), streams, post, comb)

    def __call__(self, streams: Tensor, input_ids: Tensor, step: Step) -> Tensor:
        """Runs the next tokens: streams [batch, tokens, 4, hidden]."""
        w = self.w
        streams = self.around(
            streams, w.attn_hc, w.input_layernorm, lambda x: self.attention(x, step)
        )
        return self.around(
            streams, w.ffn_hc, w.post_attention_layernorm, lambda x: self.experts(x, input_ids)
        )


def main() -> None:
    """Runs the lesson."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", choices=LAYERS, default="csa")
    parser.add_argument("--tokens", type=int, default=384, help="tokens of the prompt")
    parser.add_argument("--flash", action="store_true", help="the sizes of V4-Flash")
    parser.add_argument("--experts", choices=FORMATS, default="bf16", help="format of the experts")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = make_config(options.layer, flash=options.flash)
    layer, most = make_layer(config), options.tokens + 1
    streams = torch.randn(1, most, 4, config.hidden_size, dtype=BF16).npu()
    ids = torch.randint(config.vocab_size, (1, most)).npu()
    layers = Unfused(layer, config), Fused(layer, config, 1, most, options.experts)
    limit = 2e-2 + experts_error(layer.mlp.experts.gate_up_proj, options.experts)
    compare(*layers, (streams, ids), limit=limit)


if __name__ == "__main__":
    main()
