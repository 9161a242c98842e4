"""Lesson 3: a DeepSeek-V3 block of fused operators, beside the same block op by op.

Builds one decoder layer of transformers' DeepSeek-V3 with random weights, and the same layer of the
operators that clients of the real card call: the MLA prolog, attention over the latent cache,
gating, routing and grouped products. Runs a prompt and one decoding step through both on npu:0,
checks one against the other, and says where the simulated time goes.

    python examples/03_deepseek_v3_block.py [--tokens N] [--experts bf16|mxfp8|mxfp4]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DeepseekV3Config, DynamicCache
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3DecoderLayer,
    DeepseekV3RotaryEmbedding,
)

import torch_npu_sim as torch_npu
from torch_npu_sim.testing.expert_products import FORMATS, ExpertProducts, experts_error
from torch_npu_sim.testing.side_by_side import compare

BF16 = torch.bfloat16
BLOCK = 128  # tokens a block of the cache


def make_config() -> DeepseekV3Config:
    """Returns the configuration of a small model of one layer."""
    config = DeepseekV3Config(
        num_hidden_layers=1,
        first_k_dense_replace=0,
        hidden_size=512,
        num_attention_heads=8,
        num_key_value_heads=8,
        q_lora_rank=256,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        moe_intermediate_size=256,
        n_routed_experts=16,
        num_experts_per_tok=4,
        n_group=4,
        topk_group=2,
        vocab_size=1024,
        attn_implementation="eager",
    )
    config._experts_implementation = "grouped_mm"  # what a whole model takes
    return config


def make_layer(config: DeepseekV3Config) -> DeepseekV3DecoderLayer:
    """Returns a layer of random weights in bf16."""
    layer = DeepseekV3DecoderLayer(config, 0)
    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return layer.to(BF16).requires_grad_(False).eval()


class Unfused:
    """transformers' layer with its cache, op by op."""

    def __init__(self, layer: DeepseekV3DecoderLayer, config: DeepseekV3Config) -> None:
        """Moves the layer to npu:0."""
        self.layer, self.seen = layer.npu(), 0
        self.rotary = DeepseekV3RotaryEmbedding(config).npu()
        self.cache = DynamicCache(config=config)

    def parts(self) -> dict[str, nn.Module]:
        """The layer's parts by the names of those of the fused form."""
        return {"attention": self.layer.self_attn, "experts": self.layer.mlp}

    def prepare(self, batch: int, tokens: int) -> dict[str, Any]:
        """What all layers of a model share in one step: angles and the mask."""
        last = self.seen + tokens
        positions = torch.arange(self.seen, last, device="npu").expand(batch, -1)
        later = torch.arange(last, device="npu") > positions[0, :, None]
        mask = torch.zeros(later.shape, dtype=BF16, device="npu").masked_fill(later, -torch.inf)
        self.seen = last
        like = torch.empty(0, dtype=BF16, device="npu")
        return {
            "position_embeddings": self.rotary(like, position_ids=positions),
            "position_ids": positions,
            "attention_mask": mask.expand(batch, 1, -1, -1),
        }

    def __call__(self, x: Tensor, step: dict[str, Any]) -> Tensor:
        """Runs the next tokens [batch, tokens, hidden]."""
        return self.layer(x, past_key_values=self.cache, **step)


@dataclass
class Step:
    """What all layers of a model share in one step."""

    cos: Tensor  # [batch, tokens, rope width]
    sin: Tensor
    slots: Tensor  # [batch, tokens]
    ends: Tensor  # running sums of the tokens
    total: Tensor  # tokens of each sequence, with those of this step
    keys: Tensor  # int32 [tokens of the step, 1, keys]: all of them


class Attention(nn.Module):
    """Latent attention with absorbed weights and a paged cache."""

    def __init__(self, weights: nn.Module, config: DeepseekV3Config, batch: int, most: int) -> None:
        """Absorbs the weights of an attention of transformers."""
        super().__init__()
        self.w, self.config, self.heads = weights, config, config.num_attention_heads
        self.nope, self.latent = config.qk_nope_head_dim, config.kv_lora_rank
        up = weights.kv_b_proj.weight.view(self.heads, -1, self.latent)
        self.absorb = up[:, : self.nope].contiguous()
        self.value = up[:, self.nope :].transpose(1, 2).contiguous()
        self.down, self.up = weights.q_a_proj.weight.t(), weights.q_b_proj.weight.t()
        self.keys = weights.kv_a_proj_with_mqa.weight.t()
        each = -(-most // BLOCK)
        self.table = torch.arange(batch * each, dtype=torch.int32).view(batch, each).npu()
        shape = (batch * each, BLOCK, 1)
        self.cache = torch.zeros(*shape, self.latent, dtype=BF16, device="npu")
        self.ropes = torch.zeros(*shape, config.qk_rope_head_dim, dtype=BF16, device="npu")

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        w, eps = self.w, self.config.rms_norm_eps
        query, rope, *_ = torch_npu.npu_mla_prolog_v3(
            x, self.down, self.up, self.absorb, self.keys, w.q_a_layernorm.weight,
            w.kv_a_layernorm.weight, step.sin, step.cos, self.cache, self.ropes,
            cache_index=step.slots, rmsnorm_epsilon_cq=eps, rmsnorm_epsilon_ckv=eps,
            cache_mode="PA_BSND",
        )  # fmt: skip
        seen, *_ = torch_npu.npu_sparse_flash_attention(
            query.flatten(0, 1), self.cache, self.cache, step.keys, w.scaling,
            block_table=self.table, actual_seq_lengths_query=step.ends,
            actual_seq_lengths_kv=step.total, query_rope=rope.flatten(0, 1), key_rope=self.ropes,
            layout_query="TND", layout_kv="PA_BSND", attention_mode=2,
        )  # fmt: skip
        out = torch_npu.npu_transpose_batchmatmul(
            seen, self.value, perm_x1=(1, 0, 2), perm_x2=(0, 1, 2), perm_y=(1, 0, 2)
        )
        return F.linear(out.reshape(*x.shape[:2], -1), w.o_proj.weight)


class Experts(nn.Module):
    """Gating by groups, the routed experts as grouped products, and the shared expert."""

    def __init__(self, weights: nn.Module, config: DeepseekV3Config, form: str) -> None:
        """Takes the weights of a mixture of experts of transformers, and a format for them."""
        super().__init__()
        self.config, self.router = config, weights.gate.weight.float()
        self.bias = weights.gate.e_score_correction_bias.float()
        self.up = ExpertProducts(weights.experts.gate_up_proj, form)
        self.down = ExpertProducts(weights.experts.down_proj, form)
        shared = weights.shared_experts
        self.shared_up = torch.cat([shared.gate_proj.weight, shared.up_proj.weight])
        self.shared_down = shared.down_proj.weight

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns [batch, tokens, hidden]."""
        flat, config = x.view(-1, x.shape[-1]), self.config
        weights, experts, _ = torch_npu.npu_moe_gating_top_k(
            F.linear(flat.float(), self.router), config.num_experts_per_tok, bias=self.bias,
            k_group=config.topk_group, group_count=config.n_group, group_select_mode=1,
            norm_type=1, routed_scaling_factor=config.routed_scaling_factor,
        )  # fmt: skip
        rows, places, counts, _ = torch_npu.npu_moe_init_routing_v2(
            flat, experts, active_num=experts.numel(), expert_num=len(self.up),
            expert_tokens_num_type=1, expert_tokens_num_flag=True,
            active_expert_range=[0, len(self.up)],
        )  # fmt: skip
        groups = {"group_list": counts, "split_item": 3, "group_type": 0, "group_list_type": 1}
        routed = self.down(torch_npu.npu_swiglu(self.up(rows, groups)), groups)
        shared = torch_npu.npu_swiglu(F.linear(flat, self.shared_up))
        out = torch_npu.npu_moe_finalize_routing(
            routed, F.linear(shared, self.shared_down), None, None, weights, places, None,
            drop_pad_mode=2,
        )  # fmt: skip
        return out.view(x.shape)


class Fused:
    """The same layer of fused operators."""

    def __init__(
        self,
        layer: DeepseekV3DecoderLayer,
        config: DeepseekV3Config,
        batch: int,
        most: int,
        form: str = "bf16",
    ) -> None:
        """Takes the weights of transformers' layer and makes caches for `most` tokens.

        The products of routed experts are in `form`, a key of `FORMATS`.
        """
        self.w, self.config, self.seen = layer.npu(), config, 0
        self.rotary = DeepseekV3RotaryEmbedding(config).npu()
        self.attention = Attention(self.w.self_attn, config, batch, most)
        self.experts = Experts(self.w.mlp, config, form)

    def parts(self) -> dict[str, nn.Module]:
        """Parts by name."""
        return {"attention": self.attention, "experts": self.experts}

    def prepare(self, batch: int, tokens: int) -> Step:
        """What all layers of a model share in one step."""
        last = self.seen + tokens
        positions = torch.arange(self.seen, last, device="npu")
        like = torch.empty(0, dtype=BF16, device="npu")
        cos, sin = self.rotary(like, position_ids=positions.expand(batch, -1))
        keys = torch.arange(last, dtype=torch.int32, device="npu")
        first = self.attention.table[:, :1].long() * BLOCK
        step = Step(
            cos=cos,
            sin=sin,
            slots=first + positions,
            ends=(torch.arange(1, batch + 1, device="npu") * tokens).int(),
            total=torch.full((batch,), last, dtype=torch.int32, device="npu"),
            keys=keys.repeat(batch * tokens, 1, 1),
        )
        self.seen = last
        return step

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        """Runs the next tokens [batch, tokens, hidden]."""
        w, eps = self.w, self.config.rms_norm_eps
        normed = torch_npu.npu_rms_norm(x, w.input_layernorm.weight, eps)[0]
        out = self.attention(normed, step)
        normed, _, x = torch_npu.npu_add_rms_norm(out, x, w.post_attention_layernorm.weight, eps)
        return x + self.experts(normed)


def main() -> None:
    """Runs the lesson."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=384, help="tokens of the prompt")
    parser.add_argument("--experts", choices=FORMATS, default="bf16", help="format of the experts")
    options = parser.parse_args()
    most = options.tokens + 1
    torch.manual_seed(0)
    config = make_config()
    layer = make_layer(config)
    x = torch.randn(1, most, config.hidden_size, dtype=BF16).npu()
    layers = Unfused(layer, config), Fused(layer, config, 1, most, options.experts)
    limit = 2e-2 + experts_error(layer.mlp.experts.gate_up_proj, options.experts)
    compare(*layers, (x,), limit=limit, share=0.9)


if __name__ == "__main__":
    main()
