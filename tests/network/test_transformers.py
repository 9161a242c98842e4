"""Whole transformers models on npu equal the same models on the CPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from torch_npu_sim.testing.tiny_models import TINY_MODELS, make_inputs, make_model

transformers = pytest.importorskip("transformers", reason="transformers is an extra: [test]")

DEVICE = torch.device("npu:0")
MODELS = sorted(TINY_MODELS)
LANGUAGE_MODELS = [name for name in MODELS if TINY_MODELS[name].generates]


def to_card(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(DEVICE) for name, tensor in inputs.items()}


def assert_same(npu: torch.Tensor, cpu: torch.Tensor) -> None:
    assert npu.device == DEVICE
    torch.testing.assert_close(npu.cpu(), cpu, rtol=1.3e-6, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_forward_equals_cpu(name: str) -> None:
    model, inputs = make_model(name), make_inputs(name)
    with torch.no_grad():
        expected = model(**inputs).logits
        assert_same(model.to(DEVICE)(**to_card(inputs)).logits, expected)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_cpu(name: str) -> None:
    model, inputs = make_model(name).train(), make_inputs(name)
    on_card = copy.deepcopy(model).to(DEVICE)
    model(**inputs).logits.square().mean().backward()
    on_card(**to_card(inputs)).logits.square().mean().backward()
    for (key, cpu), npu in zip(model.named_parameters(), on_card.parameters(), strict=True):
        assert (cpu.grad is None) == (npu.grad is None), key
        if cpu.grad is not None and npu.grad is not None:
            assert_same(npu.grad, cpu.grad)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_greedy_generate_equals_cpu(name: str) -> None:
    model, inputs = make_model(name), make_inputs(name)
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    got = model.to(DEVICE).generate(**to_card(inputs), max_new_tokens=8, do_sample=False)
    assert got.device == DEVICE
    assert torch.equal(got.cpu(), expected)


def test_sampled_generate_equals_cpu_for_the_same_seed() -> None:
    model, inputs = make_model("llama"), make_inputs("llama")
    torch.manual_seed(7)
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=True, top_k=0)
    torch.manual_seed(7)
    got = model.to(DEVICE).generate(**to_card(inputs), max_new_tokens=8, do_sample=True, top_k=0)
    assert torch.equal(got.cpu(), expected)


def test_whisper_generates_what_the_cpu_generates() -> None:
    model = make_model("whisper")
    features = make_inputs("whisper")["input_features"]
    expected = model.generate(input_features=features, max_new_tokens=8, do_sample=False)
    got = model.to(DEVICE).generate(
        input_features=features.to(DEVICE), max_new_tokens=8, do_sample=False
    )
    assert torch.equal(got.cpu(), expected)


@pytest.mark.parametrize("name", MODELS)
def test_from_pretrained_with_device_map_lands_on_the_card(name: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="device_map needs accelerate: [test]")
    model, inputs = make_model(name), make_inputs(name)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, device_map="npu:0").eval()
    assert {parameter.device for parameter in loaded.parameters()} == {DEVICE}
    with torch.no_grad():
        expected = type(model).from_pretrained(tmp_path).eval()(**inputs).logits
        assert_same(loaded(**to_card(inputs)).logits, expected)
