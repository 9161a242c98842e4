"""Small transformers models with random weights: every architecture the demo and the tests run.

transformers is imported only when a model is made; install `torch_npu_sim[test]` for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["TINY_MODELS", "TinyModel", "make_inputs", "make_model"]

_LAYER = {
    "vocab_size": 128,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_MLA = {
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 128,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    **_EXPERTS,
}


@dataclass(frozen=True)
class TinyModel:
    """How to make one architecture small.

    Attributes:
        config_class: name of the transformers configuration class.
        model_class: name of the transformers model class.
        config: arguments of the configuration.
        inputs: makes the forward's keyword arguments from a generator.
        generates: whether the model has a greedy `generate`.
    """

    config_class: str
    model_class: str
    config: dict[str, Any]
    inputs: Callable[[torch.Generator], dict[str, torch.Tensor]]
    generates: bool = True


def _tokens(generator: torch.Generator) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 128, (2, 24), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _image(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}


def _speech(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "input_features": torch.randn(2, 16, 60, generator=generator),
        "decoder_input_ids": torch.randint(3, 128, (2, 8), generator=generator),
    }


TINY_MODELS: dict[str, TinyModel] = {
    "deepseek_v2": TinyModel(
        "DeepseekV2Config",
        "DeepseekV2ForCausalLM",
        _LAYER
        | _MLA
        | {"num_hidden_layers": 3, "topk_method": "greedy", "n_group": 1, "topk_group": 1},
        _tokens,
    ),
    "deepseek_v3": TinyModel(
        "DeepseekV3Config",
        "DeepseekV3ForCausalLM",
        _LAYER | _MLA | {"num_hidden_layers": 3, "n_group": 2, "topk_group": 1},
        _tokens,
    ),
    "deepseek_v32": TinyModel(
        "DeepseekV32Config",
        "DeepseekV32ForCausalLM",
        _LAYER
        | _MLA
        | {
            "num_hidden_layers": 3,
            "n_group": 2,
            "topk_group": 1,
            "index_n_heads": 4,
            "index_head_dim": 16,
            "index_topk": 8,
        },
        _tokens,
    ),
    "deepseek_v4": TinyModel(
        "DeepseekV4Config",
        "DeepseekV4ForCausalLM",
        _LAYER
        | _EXPERTS
        | {
            "num_hidden_layers": 5,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "q_lora_rank": 32,
            "qk_rope_head_dim": 8,
            "partial_rotary_factor": 0.25,
            "o_groups": 2,
            "o_lora_rank": 16,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "index_n_heads": 4,
            "index_head_dim": 16,
            "index_topk": 4,
            "sliding_window": 16,
            "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        },
        _tokens,
    ),
    "llama": TinyModel(
        "LlamaConfig",
        "LlamaForCausalLM",
        _LAYER | {"num_hidden_layers": 2, "intermediate_size": 128, "num_key_value_heads": 2},
        _tokens,
    ),
    "qwen3_moe": TinyModel(
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        _LAYER
        | _EXPERTS
        | {
            "num_hidden_layers": 2,
            "intermediate_size": 128,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_experts": 8,
        },
        _tokens,
    ),
    "mixtral": TinyModel(
        "MixtralConfig",
        "MixtralForCausalLM",
        _LAYER
        | {
            "num_hidden_layers": 2,
            "intermediate_size": 64,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
        _tokens,
    ),
    "mamba2": TinyModel(
        "Mamba2Config",
        "Mamba2ForCausalLM",
        {
            "vocab_size": 128,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_heads": 8,
            "head_dim": 16,
            "state_size": 16,
            "n_groups": 2,
            "chunk_size": 8,
        },
        _tokens,
    ),
    "vit": TinyModel(
        "ViTConfig",
        "ViTForImageClassification",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "image_size": 32,
            "patch_size": 8,
            "num_labels": 10,
        },
        _image,
        generates=False,
    ),
    "whisper": TinyModel(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        {
            "vocab_size": 128,
            "num_mel_bins": 16,
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "max_source_positions": 30,
            "max_target_positions": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
        _speech,
        generates=False,
    ),
}


def make_model(name: str, seed: int = 0, **overrides: Any) -> Any:
    """Makes the tiny model `name` on the CPU with weights that depend on `seed` alone.

    Args:
        name: a key of TINY_MODELS.
        seed: seed of the random weights.
        **overrides: configuration values to replace.

    Returns:
        The transformers model, in eval mode.

    Raises:
        KeyError: no such name.
    """
    import transformers

    tiny = TINY_MODELS[name]
    config = getattr(transformers, tiny.config_class)(**(tiny.config | overrides))
    torch.manual_seed(seed)
    return getattr(transformers, tiny.model_class)(config).eval()


def make_inputs(name: str, seed: int = 1) -> dict[str, torch.Tensor]:
    """Makes the forward's keyword arguments for the tiny model `name`, on the CPU."""
    return TINY_MODELS[name].inputs(torch.Generator().manual_seed(seed))
