"""The extension against the modules of transformers' DeepSeek-V4, in fp32."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torch_npu_sim

pytest.importorskip("transformers", reason="the models are an extra: [test]")

from transformers.models.deepseek_v4 import modeling_deepseek_v4 as v4

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16 = torch.bfloat16
TOKENS = 268


@pytest.fixture(scope="module")
def lesson() -> ModuleType:
    """The example with a whole block, whose configurations and layers these tests take."""
    path = Path(__file__).parents[2] / "examples/02_deepseek_v4_block.py"
    spec = importlib.util.spec_from_file_location("deepseek_v4_block", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def near(got: torch.Tensor, want: torch.Tensor, tolerance: float = 1e-2) -> None:
    assert got.shape == want.shape
    difference = (got.cpu().float() - want.float()).norm() / want.float().norm()
    assert difference < tolerance, difference


def positions(tokens: int = TOKENS) -> torch.Tensor:
    return torch.arange(tokens)[None]


@pytest.mark.parametrize("kind", ["hca", "csa"])
def test_keys_are_those_of_the_compressor(lesson: ModuleType, kind: str) -> None:
    config = lesson.make_config(kind)
    weights = lesson.make_layer(config).self_attn.compressor
    x = torch.randn(1, TOKENS, config.hidden_size, dtype=BF16)
    latent = torch.zeros(1, TOKENS, config.q_lora_rank)
    weights = weights.float()
    with torch.no_grad():
        want, _ = weights(x.float(), latent, positions(), None, 0)
    ours = lesson.Compressor(weights.to(BF16).npu(), 1, TOKENS, config.qk_rope_head_dim)
    rows = TOKENS // ours.ratio + 1
    at = torch.arange(TOKENS // ours.ratio) * ours.ratio
    angles = lesson.angles_of(weights.rotary_emb.npu(), at.npu(), "compress")
    cos, sin = (torch.nn.functional.pad(a, (0, 0, 0, rows - len(a))) for a in angles)
    step = torch.tensor([0, TOKENS], dtype=torch.int32).npu()
    got = ops.compressor(
        x[0].npu(), ours.kv, ours.gate, ours.state_cache, ours.ape, ours.norm, sin, cos,
        ours.rope, ours.ratio, state_block_table=ours.states.table, cu_seqlens=step,
        coff=ours.coff, norm_eps=ours.eps, rotary_mode=2,
    )  # fmt: skip
    near(got[: TOKENS // ours.ratio], want[0, 0])


def test_keys_are_chosen_as_the_indexer_chooses_them(lesson: ModuleType) -> None:
    """Quantised keys change few choices."""
    config = lesson.make_config("csa")
    config.index_topk = 16
    layer = lesson.make_layer(config)
    x = torch.randn(1, TOKENS, config.hidden_size, dtype=BF16)
    latent = torch.randn(1, TOKENS, config.q_lora_rank, dtype=BF16)
    indexer = layer.self_attn.compressor.indexer.float()
    with torch.no_grad():
        want = indexer(x.float(), latent.float(), positions(), None, 0)[0]
    layer.self_attn.compressor.indexer = indexer.to(BF16)
    fused = lesson.Fused(layer, config, 1, TOKENS)
    step = fused.prepare(1, TOKENS)
    got = fused.attention.compressed.indexer(x.npu(), latent.npu(), step).cpu()[:, 0]
    agreed = possible = 0
    for mine, theirs in zip(got.tolist(), want.tolist(), strict=True):
        chosen = {i for i in theirs if i >= 0}
        assert len(chosen) == len({i for i in mine if i >= 0})
        agreed += len(chosen & set(mine))
        possible += len(chosen)
    assert agreed > 0.9 * possible


def test_gates_are_those_of_the_hyper_connection(lesson: ModuleType) -> None:
    config = lesson.make_config("swa")
    gates = lesson.make_layer(config).attn_hc
    streams = torch.randn(2, 5, 4, config.hidden_size, dtype=BF16)
    with torch.no_grad():
        post, comb, collapsed = gates(streams)
    got = ops.npu_hc_pre(
        streams.npu(), gates.fn.npu(), gates.scale.npu(), gates.base.npu(), hc_eps=config.hc_eps
    )
    for mine, theirs in zip(got, (collapsed, post, comb), strict=True):
        near(mine, theirs, 3e-3)


@pytest.mark.parametrize("hashed", [True, False])
def test_experts_are_those_of_the_router(lesson: ModuleType, hashed: bool) -> None:
    config = lesson.make_config("swa", hashed=hashed)
    layer = lesson.make_layer(config)
    router = layer.mlp.gate.float()
    x = torch.randn(1, TOKENS, config.hidden_size)
    ids = torch.randint(config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        logits, weights, experts = router(x, ids) if hashed else router(x)
    table = {"input_ids": ids[0].npu(), "tid2eid": router.tid2eid.int().npu()} if hashed else {}
    got_weights, got_experts, _ = ops.npu_moe_gating_top_k(
        logits.npu(), 6, norm_type=2, routed_scaling_factor=config.routed_scaling_factor, **table
    )
    order, mine = experts.argsort(-1), got_experts.cpu().argsort(-1)
    assert torch.equal(got_experts.cpu().gather(1, mine).long(), experts.gather(1, order))
    near(got_weights.cpu().gather(1, mine), weights.gather(1, order), 1e-5)


def test_queries_attend_as_the_eager_attention_does(lesson: ModuleType) -> None:
    config = lesson.make_config("swa")
    module = lesson.make_layer(config).self_attn
    heads, width = config.num_attention_heads, config.head_dim
    q, kv = torch.randn(TOKENS, heads, width).to(BF16), torch.randn(TOKENS, width).to(BF16)
    distance = positions().T - positions()
    mask = torch.zeros(TOKENS, TOKENS).masked_fill((distance < 0) | (distance >= 128), -torch.inf)
    keys = kv.float()[None, None]
    want, _ = v4.eager_attention_forward(
        module, q.float().transpose(0, 1)[None], keys, keys, mask, module.scaling
    )
    pages = lesson.Pages(1, TOKENS)
    cache = torch.zeros(pages.count * 128, width, dtype=BF16, device="npu")
    ops.scatter_nd_update_asc(cache, pages.slots(0, TOKENS)[:, None], kv.npu())
    got, _ = ops.npu_sparse_attn_sharedkv(
        q.npu(),
        ori_kv=cache.view(-1, 128, 1, width),
        ori_block_table=pages.table,
        cu_seqlens_q=torch.tensor([0, TOKENS], dtype=torch.int32).npu(),
        seqused_kv=torch.tensor([TOKENS], dtype=torch.int32).npu(),
        sinks=module.sinks.npu(),
        metadata=torch.zeros(1024, dtype=torch.int32, device="npu"),
        cmp_ratio=1,
        layout_q="TND",
    )
    near(got, want[0], 5e-3)
