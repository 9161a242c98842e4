"""Every operator that a DeepSeek model dispatches is described, and the card runs it itself."""

from collections.abc import Callable

import pytest
import torch

from torch_npu_sim import _C

transformers = pytest.importorskip("transformers", reason="the models come from transformers")

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "max_position_embeddings": 64,
}


def calls_counted(counter: Callable[[], dict[str, int]], run: Callable[[], object]) -> set[str]:
    """The operators whose counts grew while `run` ran."""
    before = counter()
    run()
    return {op for op, calls in counter().items() if calls > before.get(op, 0)}


def training_step() -> None:
    """One AdamW step of a two-layer deepseek_v3 with a mixture of experts."""
    config = transformers.DeepseekV3Config(**SMALL)
    model = transformers.DeepseekV3ForCausalLM(config).to("npu")
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(0, 64, (2, 12)).to("npu")
    model(tokens, labels=tokens).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def generation() -> None:
    """A greedy and a sampled continuation with the key-value cache."""
    config = transformers.DeepseekV3Config(**SMALL)
    model = transformers.DeepseekV3ForCausalLM(config).to("npu").eval()
    tokens = torch.randint(2, 64, (1, 6)).to("npu")
    model.generate(tokens, max_new_tokens=3, do_sample=False)
    model.generate(tokens, max_new_tokens=3, do_sample=True, top_k=8, top_p=0.9)


@pytest.mark.parametrize("run", [training_step, generation])
@pytest.mark.parametrize("counter", [_C.undescribed_ops, _C.fallback_ops])
def test_a_deepseek_model_dispatches_only_described_operators_that_the_card_has(
    counter: Callable[[], dict[str, int]], run: Callable[[], None]
) -> None:
    assert calls_counted(counter, run) == set()
