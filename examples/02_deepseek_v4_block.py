"""Lesson 2: a DeepSeek-V4 block of fused operators, beside the same block op by op.

Builds one decoder layer of transformers' DeepSeek-V4 with random weights, and the same layer of the
operators that clients of the real card call (`torch.ops.custom`, `torch_npu`): hyper-connections,
compressor, indexer, attention over a window and compressed keys, gating, routing and grouped
products. Runs a prompt and one decoding step through both on npu:0, checks one against the other,
and says where the simulated time goes.

    python examples/02_deepseek_v4_block.py [--layer csa|hca|swa] [--tokens N] [--flash]

`--flash` takes the sizes of V4-Flash, with 16 of its 256 experts.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

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

BF16 = torch.bfloat16
BLOCK = 128  # tokens a block of every cache
LAYERS = {
    "swa": "sliding_attention",
    "csa": "compressed_sparse_attention",
    "hca": "heavily_compressed_attention",
}
SMALL = {
    "hidden_size": 512,
    "num_attention_heads": 8,
    "head_dim": 128,
    "q_lora_rank": 256,
    "o_groups": 2,
    "o_lora_rank": 128,
    "index_n_heads": 8,
    "index_topk": 32,
    "moe_intermediate_size": 256,
    "partial_rotary_factor": 0.5,
}


def make_config(layer: str, *, flash: bool = False, hashed: bool = True) -> DeepseekV4Config:
    """Returns the configuration of a model of one layer."""
    sizes = {} if flash else SMALL
    return DeepseekV4Config(
        num_hidden_layers=1,
        layer_types=[LAYERS[layer]],
        mlp_layer_types=["hash_moe" if hashed else "moe"],
        n_routed_experts=16,
        vocab_size=1024,
        attn_implementation="eager",
        **sizes,
    )


def make_layer(config: DeepseekV4Config) -> DeepseekV4DecoderLayer:
    """Returns a layer of random weights, in the dtypes of the published checkpoints."""
    layer = DeepseekV4DecoderLayer(config, 0)
    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5)
            elif parameter.dim() < 2 or "position_bias" in name:
                parameter.normal_()
            else:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    if layer.mlp.is_hash:
        scores = torch.rand(layer.mlp.gate.tid2eid.shape[0], config.num_local_experts)
        layer.mlp.gate.tid2eid.copy_(scores.topk(config.num_experts_per_tok).indices)
    layer = layer.to(BF16)
    kept = ("attn_hc", "ffn_hc", "sinks", "position_bias", "norm")
    for name, parameter in layer.named_parameters():
        if any(word in name for word in kept):
            parameter.data = parameter.data.float()
    return layer.requires_grad_(False).eval()


class Unfused:
    """transformers' layer with its cache, op by op."""

    def __init__(self, layer: DeepseekV4DecoderLayer, config: DeepseekV4Config) -> None:
        """Moves the layer to npu:0."""
        self.layer, self.config = layer.npu(), config
        self.rotary = DeepseekV4RotaryEmbedding(config).npu()
        self.cache = DynamicCache(config=config)
        self.seen = 0

    def __call__(self, streams: Tensor, input_ids: Tensor) -> Tensor:
        """Runs the next tokens: streams [batch, tokens, 4, hidden]."""
        batch, tokens = streams.shape[:2]
        positions = torch.arange(self.seen, self.seen + tokens, device="npu").expand(batch, -1)
        angles = {
            kind: self.rotary(streams, position_ids=positions, layer_type=kind)
            for kind in ("main", "compress")
        }
        window = self.config.sliding_window
        first = max(0, self.seen - window + 1)
        keys = torch.arange(first, self.seen + tokens, device="npu")
        distance = positions[0, :, None] - keys
        mask = torch.zeros(distance.shape, dtype=BF16, device="npu")
        mask = mask.masked_fill((distance < 0) | (distance >= window), float("-inf"))
        out = self.layer(
            streams,
            input_ids=input_ids,
            position_embeddings=angles,
            position_ids=positions,
            attention_mask=mask.expand(batch, 1, -1, -1),
            past_key_values=self.cache,
        )
        self.seen += tokens
        return out


@dataclass
class Lengths:
    """Where the tokens of a call stand: the same for every sequence of the batch."""

    batch: int
    tokens: int
    seen: int

    @property
    def total(self) -> int:
        """Tokens of a sequence, with those of this call."""
        return self.seen + self.tokens

    def ints(self, values: list[int]) -> Tensor:
        """A tensor of lengths, as the operators take them."""
        return torch.tensor(values, dtype=torch.int32, device="npu")


class Pages:
    """Blocks of a cache: those of a sequence follow each other; block 0 belongs to nobody."""

    def __init__(self, batch: int, most: int, tokens: int = BLOCK) -> None:
        """Makes the table of `batch` sequences of at most `most` tokens."""
        self.each, self.tokens = -(-most // tokens), tokens
        table = 1 + torch.arange(batch * self.each, dtype=torch.int32)
        self.table = table.view(batch, self.each).npu()
        self.count = 1 + batch * self.each

    def slots(self, batch: int, first: int, last: int) -> Tensor:
        """Slots of positions first .. last of every sequence, int32 [batch x positions]."""
        start = (1 + torch.arange(batch, device="npu") * self.each) * self.tokens
        positions = torch.arange(first, last, device="npu")
        return (start[:, None] + positions).flatten().int()


class Compressor:
    """Keys of `ratio` tokens made one: weights, states and the places of its keys."""

    def __init__(self, weights: nn.Module, ratio: int, batch: int, most: int, rope: int) -> None:
        """Takes the weights of a compressor of transformers."""
        self.kv, self.gate = weights.kv_proj.weight, weights.gate_proj.weight
        self.ape, self.norm = weights.position_bias.float(), weights.kv_norm.weight.float()
        self.eps, self.ratio, self.rope = weights.kv_norm.variance_epsilon, ratio, rope
        self.coff = self.kv.shape[0] // self.norm.shape[0]
        self.rotary = weights.rotary_emb
        self.states = Pages(batch, most)
        shape = (self.states.count, BLOCK, 2 * self.kv.shape[0])
        self.state_cache = torch.zeros(shape, device="npu")
        self.pages = Pages(batch, -(-most // ratio))

    def __call__(self, x: Tensor, at: Lengths) -> tuple[Tensor, Tensor]:
        """Returns keys [rows, width] and their slots; rows without a key have slot -1."""
        first, last = at.seen // self.ratio, at.total // self.ratio
        tokens = at.batch * at.tokens
        rows = min(tokens, tokens // self.ratio + at.batch)
        positions = torch.arange(first, last, device="npu") * self.ratio
        cos, sin = (a.repeat(at.batch, 1) for a in angles_of(self.rotary, positions, "compress"))
        missing = rows - cos.shape[0]
        keys = torch.ops.custom.compressor(
            x.view(tokens, -1),
            self.kv,
            self.gate,
            self.state_cache,
            self.ape,
            self.norm,
            F.pad(sin, (0, 0, 0, missing)),
            F.pad(cos, (0, 0, 0, missing)),
            rope_head_dim=self.rope,
            cmp_ratio=self.ratio,
            state_block_table=self.states.table,
            cu_seqlens=at.ints([i * at.tokens for i in range(at.batch + 1)]),
            start_pos=at.ints([at.seen] * at.batch),
            coff=self.coff,
            norm_eps=self.eps,
            rotary_mode=2,
        )
        slots = F.pad(self.pages.slots(at.batch, first, last), (0, missing), value=-1)
        return keys, slots


def angles_of(
    rotary: DeepseekV4RotaryEmbedding, positions: Tensor, kind: str
) -> tuple[Tensor, Tensor]:
    """Returns cos and sin [positions, rope width] in fp32, rounded as transformers rounds them."""
    like = torch.empty(0, dtype=BF16, device="npu")
    halves = rotary(like, position_ids=positions[None], layer_type=kind)
    cos, sin = (a[0].float().repeat_interleave(2, -1) for a in halves)
    return cos, sin


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotates the last channels of x [batch, tokens, heads, width] in place."""
    width, rope = x.shape[-1], cos.shape[-1]
    cos, sin = (a[None, :, None].expand(x.shape[0], -1, -1, -1) for a in (cos, sin))
    torch.ops.custom.inplace_partial_rotary_mul(
        x, cos, sin, rotary_mode="interleave", partial_slice=[width - rope, width]
    )


def hadamard(width: int) -> Tensor:
    """Returns the orthogonal Hadamard matrix of a power of two."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return (matrix * width**-0.5).to(BF16).npu()


class Indexer:
    """Chooses compressed keys for each query, from quantised keys of its own."""

    def __init__(self, weights: nn.Module, batch: int, most: int, rope: int) -> None:
        """Takes the weights of an indexer of transformers."""
        self.compressor = Compressor(weights, weights.compress_rate, batch, most, rope)
        self.query, self.weights = weights.q_b_proj.weight, weights.scorer.weights_proj.weight
        self.heads, self.width, self.topk = weights.num_heads, weights.head_dim, weights.index_topk
        self.turn = hadamard(self.width)
        blocks = self.compressor.pages.count
        self.cache = torch.zeros(blocks, BLOCK, 1, self.width, device="npu").to(torch.float8_e4m3fn)
        self.scale = torch.zeros(blocks, BLOCK, 1, 1, device="npu")

    def __call__(
        self, x: Tensor, latent: Tensor, angles: tuple[Tensor, Tensor], at: Lengths
    ) -> Tensor:
        """Returns int32 [tokens, 1, keys chosen]."""
        keys, slots = self.compressor(x, at)
        torch.ops.custom.indexer_compress_epilog(self.cache, self.scale, keys @ self.turn, slots)
        query = F.linear(latent, self.query).view(at.batch, at.tokens, self.heads, self.width)
        rotate(query, *angles)
        codes, scale = torch_npu.npu_dynamic_block_quant(
            query.view(-1, self.width) @ self.turn, dst_type=torch_npu_dtype(torch.float8_e4m3fn)
        )
        weights = F.linear(x, self.weights).float() * (self.width * self.heads) ** -0.5
        lengths = {
            "actual_seq_lengths_query": at.ints([(i + 1) * at.tokens for i in range(at.batch)]),
            "actual_seq_lengths_key": at.ints([at.total] * at.batch),
        }
        form = {"sparse_count": self.topk, "sparse_mode": 3, "cmp_ratio": self.compressor.ratio}
        plan = torch.ops.custom.npu_quant_lightning_indexer_metadata(
            self.heads, 1, self.width, 0, 0, layout_query="TND", layout_key="PA_BSND",
            **lengths, **form,
        )  # fmt: skip
        chosen, _ = torch.ops.custom.npu_quant_lightning_indexer(
            codes.view(-1, self.heads, self.width), self.cache, weights.view(-1, self.heads),
            scale.view(-1, self.heads), self.scale.squeeze(-1), 0, 0,
            block_table=self.compressor.pages.table, metadata=plan, layout_query="TND",
            **lengths, **form,
        )  # fmt: skip
        return chosen


def torch_npu_dtype(dtype: torch.dtype) -> int:
    """Returns the number by which torch_npu's quantising operators know a dtype of torch."""
    return {torch.float8_e4m3fn: 24}[dtype]


class Attention:
    """Attention over a window of own keys and compressed ones, with paged caches."""

    def __init__(
        self, weights: nn.Module, config: DeepseekV4Config, rotary: nn.Module, batch: int, most: int
    ) -> None:
        """Takes the weights of an attention of transformers."""
        self.w, self.config, self.rotary = weights, config, rotary
        self.width, self.heads = config.head_dim, config.num_attention_heads
        self.ones = torch.ones(self.width, device="npu")
        self.groups = weights.o_a_proj.weight.view(config.o_groups, config.o_lora_rank, -1)
        self.pages = Pages(batch, most)
        self.cache = torch.zeros(self.pages.count, BLOCK, 1, self.width, dtype=BF16, device="npu")
        self.kind = weights.rope_layer_type
        self.compressor: Compressor | None = None
        self.indexer: Indexer | None = None
        if weights.compressor is None:
            return
        rope = config.qk_rope_head_dim
        ratio = weights.compressor.compress_rate
        self.compressor = Compressor(weights.compressor, ratio, batch, most, rope)
        blocks = self.compressor.pages.count
        self.compressed = torch.zeros(blocks, BLOCK, 1, self.width, dtype=BF16, device="npu")
        if hasattr(weights.compressor, "indexer"):
            self.indexer = Indexer(weights.compressor.indexer, batch, most, rope)

    def norm(self, x: Tensor, gamma: Tensor) -> Tensor:
        """RMS norm over the width of gamma."""
        return torch_npu.npu_rms_norm(x, gamma, self.config.rms_norm_eps)[0]

    def store(self, cache: Tensor, rows: Tensor, slots: Tensor) -> None:
        """Writes rows to the slots of a cache of bf16."""
        torch.ops.custom.scatter_nd_update_asc(cache.view(-1, self.width), slots[:, None], rows)

    def __call__(self, x: Tensor, at: Lengths) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        w, shape = self.w, (at.batch, at.tokens, self.heads, self.width)
        positions = torch.arange(at.seen, at.total, device="npu")
        cos, sin = angles_of(self.rotary, positions, self.kind)
        latent = self.norm(F.linear(x, w.q_a_proj.weight), w.q_a_norm.weight)
        query = self.norm(F.linear(latent, w.q_b_proj.weight).view(shape), self.ones)
        rotate(query, cos, sin)
        key = self.norm(F.linear(x, w.kv_proj.weight), w.kv_norm.weight)
        rotate(key.view(at.batch, at.tokens, 1, self.width), cos, sin)
        own = self.pages.slots(at.batch, at.seen, at.total)
        self.store(self.cache, key.view(-1, self.width), own)
        seen = self.attend(query, self.keys(x, latent, (cos, sin), at), at)
        rotate(seen.view(shape), cos, -sin)
        grouped = seen.view(at.batch * at.tokens, self.config.o_groups, -1)
        out = torch_npu.npu_transpose_batchmatmul(
            grouped, self.groups.transpose(1, 2), perm_x1=(1, 0, 2), perm_x2=(0, 1, 2),
            perm_y=(1, 0, 2),
        )  # fmt: skip
        return F.linear(out.flatten(1).view(at.batch, at.tokens, -1), w.o_b_proj.weight)

    def keys(
        self, x: Tensor, latent: Tensor, angles: tuple[Tensor, Tensor], at: Lengths
    ) -> dict[str, Tensor]:
        """Compresses what came, and returns what attention gets to know of compressed keys."""
        if self.compressor is None:
            return {}
        keys, slots = self.compressor(x, at)
        self.store(self.compressed, keys, slots)
        known = {"cmp_kv": self.compressed, "cmp_block_table": self.compressor.pages.table}
        if self.indexer is not None:
            known["cmp_sparse_indices"] = self.indexer(x, latent, angles, at)
        return known

    def attend(self, query: Tensor, known: dict[str, Tensor], at: Lengths) -> Tensor:
        """Attention of all tokens: [tokens, heads, width]."""
        lengths = {
            "cu_seqlens_q": at.ints([i * at.tokens for i in range(at.batch + 1)]),
            "seqused_kv": at.ints([at.total] * at.batch),
        }
        ratio = 1 if self.compressor is None else self.compressor.ratio
        plan = torch.ops.custom.npu_sparse_attn_sharedkv_metadata(
            self.heads, 1, self.width, cmp_ratio=ratio, layout_q="TND", **lengths
        )
        out, _ = torch.ops.custom.npu_sparse_attn_sharedkv(
            query.view(-1, self.heads, self.width), ori_kv=self.cache,
            ori_block_table=self.pages.table, sinks=self.w.sinks.float(), metadata=plan,
            softmax_scale=self.w.scaling, cmp_ratio=ratio,
            ori_win_left=self.config.sliding_window - 1, layout_q="TND", **lengths, **known,
        )  # fmt: skip
        return out


class Experts:
    """Gating, the routed experts as grouped products, and the shared expert."""

    def __init__(self, weights: nn.Module, config: DeepseekV4Config) -> None:
        """Takes the weights of a mixture of experts of transformers."""
        self.w, self.config = weights, config
        self.up = weights.experts.gate_up_proj.transpose(1, 2)
        self.down = weights.experts.down_proj.transpose(1, 2)
        shared = weights.shared_experts
        self.shared_up = torch.cat([shared.gate_proj.weight, shared.up_proj.weight])
        self.shared_down = shared.down_proj.weight

    def gate(self, x: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and experts [tokens, k]."""
        gate = self.w.gate
        table = {"input_ids": input_ids.flatten(), "tid2eid": gate.tid2eid.int()}
        bias = {"bias": gate.e_score_correction_bias.float()} if not self.w.is_hash else table
        weights, experts, _ = torch.ops.custom.npu_moe_gating_top_k(
            F.linear(x, gate.weight).float(), self.config.num_experts_per_tok, norm_type=2,
            routed_scaling_factor=self.config.routed_scaling_factor, **bias,
        )  # fmt: skip
        return weights, experts

    def activated(self, x: Tensor) -> Tensor:
        """SwiGLU of clamped halves."""
        return torch_npu.npu_clipped_swiglu(
            x, alpha=1.0, limit=self.config.swiglu_limit, bias=0.0, interleaved=False
        )

    def __call__(self, x: Tensor, input_ids: Tensor) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        flat = x.view(-1, x.shape[-1])
        weights, experts = self.gate(flat, input_ids)
        rows, places, counts, _ = torch.ops.custom.npu_moe_init_routing_group_quant(
            flat, experts, active_num=experts.numel(), expert_num=self.up.shape[0],
            drop_pad_mode=0, expert_tokens_num_type=1, expert_tokens_num_flag=True, quant_mode=-1,
            active_expert_range=[0, self.up.shape[0]], row_idx_type=0,
        )  # fmt: skip
        groups = {"group_list": counts, "split_item": 3, "group_type": 0, "group_list_type": 1}
        (hidden,) = torch_npu.npu_grouped_matmul([rows], [self.up], **groups)
        (routed,) = torch_npu.npu_grouped_matmul([self.activated(hidden)], [self.down], **groups)
        shared = F.linear(self.activated(F.linear(flat, self.shared_up)), self.shared_down)
        out = torch_npu.npu_moe_finalize_routing(
            routed, shared, None, None, weights.to(BF16), places, None, drop_pad_mode=2
        )
        return out.view(x.shape)


class Fused:
    """The same layer of fused operators."""

    def __init__(
        self, layer: DeepseekV4DecoderLayer, config: DeepseekV4Config, batch: int, most: int
    ) -> None:
        """Takes the weights of transformers' layer and makes caches for `most` tokens."""
        torch_npu.enable_custom_ops()
        layer = layer.npu()
        self.w, self.config, self.seen = layer, config, 0
        rotary = DeepseekV4RotaryEmbedding(config).npu()
        self.attention = Attention(layer.self_attn, config, rotary, batch, most)
        self.experts = Experts(layer.mlp, config)

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

    def __call__(self, streams: Tensor, input_ids: Tensor) -> Tensor:
        """Runs the next tokens: streams [batch, tokens, 4, hidden]."""
        at = Lengths(streams.shape[0], streams.shape[1], self.seen)
        w = self.w
        streams = self.around(
            streams, w.attn_hc, w.input_layernorm, lambda x: self.attention(x, at)
        )
        self.seen = at.total
        return self.around(
            streams, w.ffn_hc, w.post_attention_layernorm, lambda x: self.experts(x, input_ids)
        )


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The norm of the difference over the norm of b."""
    return float((a.float() - b.float()).norm() / b.float().norm())


# Which part of the block an operator belongs to, by words of its name; the first that fits.
PARTS = {
    "hyper-connections": ("hc_",),
    "compressor": ("compressor", "epilog"),
    "indexer": ("indexer",),
    "attention": ("attn", "scatter_nd"),
    "rotation": ("rotary",),
    "experts": ("moe", "grouped", "swiglu"),
    "products": ("mm", "matmul", "linear"),
}


def part_of(op: str) -> str:
    """The part of the block that a fused operator belongs to."""
    return next((part for part, words in PARTS.items() if any(w in op for w in words)), "other")


def table(traces: dict[str, torch_npu.Trace]) -> str:
    """Kernels and microseconds of each operator, costliest first."""
    lines = []
    for name, trace in traces.items():
        count: dict[str, int] = defaultdict(int)
        busy: dict[str, float] = defaultdict(float)
        for kernel in trace.kernels:
            count[kernel.op] += 1
            busy[kernel.op] += kernel.duration_us
        lines.append(
            f"{name}: {trace.total_us:.0f} us, {len(trace.kernels)} kernels busy "
            f"{trace.device_us:.0f} us, host {trace.host_us:.0f} us"
        )
        for op in sorted(busy, key=lambda op: -busy[op])[:12]:
            lines.append(f"  {op:60} {count[op]:6} {busy[op]:10.1f} us")
    return "\n".join(lines)


def traced(run: Callable[[], Tensor]) -> tuple[Tensor, torch_npu.Trace]:
    """Runs a step and waits for the card."""
    with torch_npu.trace() as trace, torch.no_grad():
        out = run()
        torch.npu.synchronize()
    return out, trace


def main() -> None:
    """Runs the lesson."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", choices=LAYERS, default="csa")
    parser.add_argument("--tokens", type=int, default=384, help="tokens of the prompt")
    parser.add_argument("--flash", action="store_true", help="the sizes of V4-Flash")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = make_config(options.layer, flash=options.flash)
    layer = make_layer(config)
    most = options.tokens + 1
    streams = torch.randn(1, most, 4, config.hidden_size, dtype=BF16).npu()
    ids = torch.randint(config.vocab_size, (1, most)).npu()
    unfused, fused = Unfused(layer, config), Fused(layer, config, 1, most)
    for step, part in (
        ("prompt", slice(0, options.tokens)),
        ("decode", slice(options.tokens, most)),
    ):
        want, slow = traced(lambda part=part: unfused(streams[:, part], ids[:, part]))
        got, fast = traced(lambda part=part: fused(streams[:, part], ids[:, part]))
        difference = relative_difference(got, want)
        tokens = part.stop - part.start
        print(f"\n{step} of {tokens} tokens: relative difference {difference:.1e}")
        print(table({"op by op": slow, "fused": fast}))
        print(f"  {slow.total_us / fast.total_us:.1f} times faster")
        assert difference < 2e-2, difference


if __name__ == "__main__":
    main()
