"""What a whole model costs the host more on npu than on the CPU."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

Measure = Callable[..., Any]
Inputs = dict[str, torch.Tensor]


def paired_forward(
    measure: Measure, name: str, model: torch.nn.Module, inputs: Inputs, rounds: int
) -> Any:
    """Measures the forward of a model and of its copy on npu:0."""
    on_npu = copy.deepcopy(model).to("npu:0")
    npu_inputs = {key: value.to("npu:0") for key, value in inputs.items()}
    with torch.no_grad():
        return measure(name, lambda: model(**inputs), lambda: on_npu(**npu_inputs), 1, rounds)


def test_a_tiny_deepseek_v4_forward_takes_at_most_1_6_times_the_cpu(measure: Measure) -> None:
    from torch_npu_sim.testing.tiny_models import make_inputs, make_model

    model = make_model("deepseek_v4")
    paired = paired_forward(measure, "deepseek_v4", model, make_inputs("deepseek_v4"), rounds=30)
    assert paired.ratio <= 1.6


def test_a_bf16_llama_of_hidden_2048_takes_at_most_1_05_times_the_cpu(measure: Measure) -> None:
    config = transformers.LlamaConfig(
        vocab_size=1024,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=16,
    )
    model = transformers.LlamaModel(config).eval().to(torch.bfloat16)
    inputs = {"input_ids": torch.randint(0, 1024, (1, 256))}
    paired = paired_forward(measure, "llama 4 x 2048, 256 tokens", model, inputs, rounds=5)
    assert paired.ratio <= 1.05
