"""One layer of transformers' DeepSeek-V4 with random weights.

transformers is imported only when a layer is made; install `torch_npu_sim[test]` for it.
"""

from typing import Any

import torch

__all__ = ["LAYERS", "make_config", "make_layer"]

LAYERS = {
    "swa": "sliding_attention",
    "csa": "compressed_sparse_attention",
    "hca": "heavily_compressed_attention",
}
SMALL: dict[str, Any] = {
    "hidden_size": 512,
    "num_attention_heads": 8,
    "head_dim": 128,
    "q_lora_rank": 256,
    "o_groups": 2,
    "o_lora_rank": 128,
    "index_n_heads": 8,
    "index_topk": 128,
    "moe_intermediate_size": 256,
    "partial_rotary_factor": 0.5,
}


def make_config(layer: str, *, flash: bool = False, hashed: bool = True) -> Any:
    """Returns the configuration of a model of one layer."""
    from transformers import DeepseekV4Config

    sizes: dict[str, Any] = {"attn_implementation": "eager"} | ({} if flash else SMALL)
    config = DeepseekV4Config(
        num_hidden_layers=1,
        layer_types=[LAYERS[layer]],
        mlp_layer_types=["hash_moe" if hashed else "moe"],
        n_routed_experts=16,
        vocab_size=1024,
        **sizes,
    )
    config._experts_implementation = "grouped_mm"  # what a whole model takes
    return config


def make_layer(config: Any) -> Any:
    """Returns a layer of random weights, in the dtypes of the published checkpoints."""
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4DecoderLayer

    layer: Any = DeepseekV4DecoderLayer(config, 0)
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
    layer = layer.to(torch.bfloat16)
    kept = ("attn_hc", "ffn_hc", "sinks", "position_bias", "norm")
    for name, parameter in layer.named_parameters():
        if any(word in name for word in kept):
            parameter.data = parameter.data.float()
    return layer.requires_grad_(False).eval()
