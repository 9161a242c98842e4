"""Calls of training attention: shapes of meta tensors, errors, what this card lacks, and work."""

import re
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import fusion_attention as reference

OPS = torch.ops.npu


@pytest.mark.parametrize("layout", ["BSH", "SBH", "BSND", "BNSD"])
def test_meta_agrees(layout: str) -> None:
    shapes = (2, 4, 5, 16), (2, 2, 7, 16), (2, 2, 7, 8)
    parts = [reference.from_heads(torch.randn(s).half(), layout) for s in shapes]
    assert_meta_agrees(lambda *x: OPS.npu_fusion_attention(*x, 4, layout)[:4], *parts)
    assert_meta_agrees(lambda *x: OPS.npu_fusion_attention_v2(*x, 4, layout)[:4], *parts)
    saved = [x.cpu() for x in OPS.npu_fusion_attention(*on_npu(parts), 4, layout)[:3]]
    for op in (OPS.npu_fusion_attention_grad, OPS.npu_fusion_attention_grad_v2):

        def grad(*x: torch.Tensor, op: Any = op) -> Any:
            out, greatest, total = x[3:]
            kwargs = {"softmax_max": greatest, "softmax_sum": total, "attention_in": out}
            return op(*x[:3], out, 4, layout, **kwargs)[:3]

        assert_meta_agrees(grad, *parts, *saved)


def fails(match: str, *args: Any, error: type[Exception] = ValueError, **kwargs: Any) -> None:
    with pytest.raises(error, match=f"npu_fusion_attention.*: expected .*{match}"):
        torch_npu_sim.npu_fusion_attention_v2(*on_npu(args), **on_npu(kwargs))


def test_errors_name_the_argument() -> None:
    x = torch.zeros(2, 4, 6, 8)
    fails("input_layout", x, x, x, 4, "BDSN")
    fails("head_num", x, x, x, 0, "BNSD")
    fails("head_num", x, x, x, 3, "BNSD")
    fails("query of 3 axes", x, x, x, 4, "BSH")
    fails("key of query's batch", x, x[:1], x[:1], 4, "BNSD")
    fails("key heads", x, x[:, :3], x[:, :3], 4, "BNSD")
    fails("head width", x, x[..., :4], x[..., :4], 4, "BNSD")
    fails("value of key's tokens", x, x, x[:, :, :3], 4, "BNSD")
    fails("value no wider", x, x, torch.zeros(2, 4, 6, 9), 4, "BNSD")
    fails("float16, bfloat16 or float32", *[x.double()] * 3, 4, "BNSD", error=TypeError)
    fails("query's Float", x, x.half(), x, 4, "BNSD", error=TypeError)
    fails("sparse_mode", x, x, x, 4, "BNSD", sparse_mode=7)
    fails("keep_prob", x, x, x, 4, "BNSD", keep_prob=0.0)
    fails("softmax_layout", x, x, x, 4, "BNSD", softmax_layout="TND")
    fails("actual_seq_qlen", x[0], x[0], x[0], 4, "TND")
    fails("only in layout TND", x, x, x, 4, "BNSD", actual_seq_qlen=[2], actual_seq_kvlen=[2])
    fails("pse", x, x, x, 4, "BNSD", pse=torch.zeros(2, 4, 5, 6))
    fails("pse_type", x, x, x, 4, "BNSD", pse=torch.zeros(2, 4, 6, 6), pse_type=4)
    fails("slopes", x, x, x, 4, "BNSD", pse=torch.zeros(4).half(), pse_type=2, error=TypeError)
    fails("sink", x, x, x, 4, "BNSD", sink=torch.zeros(3))
    fails("together", x, x, x, 4, "BNSD", query_rope=x)
    fails("key_rope", x, x, x, 4, "BNSD", query_rope=x, key_rope=x[..., :4])
    fails("q_start_idx", x, x, x, 4, "BNSD", q_start_idx=[1, 2])
    fails("dropout_mask", x, x, x, 4, "BNSD", dropout_mask=torch.zeros(3).byte(), keep_prob=0.5)
    mask = torch.zeros(6, 6).bool()
    fails("atten_mask of bool", x, x, x, 4, "BNSD", atten_mask=mask.float(), error=TypeError)
    fails("atten_mask", x, x, x, 4, "BNSD", atten_mask=mask[:5])
    fails("compressed", x, x, x, 4, "BNSD", atten_mask=mask, sparse_mode=3)
    mask = torch.zeros(2, 1, 6, 6).bool()
    fails("prefix", x, x, x, 4, "BNSD", atten_mask=mask, sparse_mode=5)
    fails("prefix in", x, x, x, 4, "BNSD", atten_mask=mask, sparse_mode=5, prefix=[7, 1])
    flat = x[0].transpose(0, 1)
    fails("do not fall", *[flat] * 3, 4, "TND", actual_seq_qlen=[3, 2], actual_seq_kvlen=[2, 4])
    fails("ends at 6", *[flat] * 3, 4, "TND", actual_seq_qlen=[3, 7], actual_seq_kvlen=[2, 4])
    fails("2 sequences", *[flat] * 3, 4, "TND", actual_seq_qlen=[3, 6], actual_seq_kvlen=[6])
    with pytest.raises(NotImplementedError, match="npu_fusion_attention: padding_mask"):
        torch_npu_sim.npu_fusion_attention(*on_npu((x, x, x)), 4, "BNSD", padding_mask=x.npu())
    with pytest.raises(ValueError, match="npu_fusion_attention_grad: expected softmax_max"):
        OPS.npu_fusion_attention_grad(*on_npu((x, x, x, x)), 4, "BNSD", attention_in=x.npu())


KIN = {
    "npu_fusion_attention_v3": lambda op, x: op(x, x, x, 4, "BNSD"),
    "npu_fusion_attention_v3.out": lambda op, x: op(x, x, x, 4, "BNSD", out=[x] * 6),
    "npu_fusion_attention_grad_v3": lambda op, x: op(x, x, x, x, 4, "BNSD"),
    "npu_fusion_attention_grad_v3.out": lambda op, x: op(x, x, x, x, 4, "BNSD", out=[x] * 5),
    "_npu_fusion_attention_v3_infer_output": lambda op, x: op(x, x, x, 4, "BNSD"),
    "_npu_fusion_attention_grad_v3_infer_output": lambda op, x: op(x, x, x),
    "_npu_fusion_attention_v3_get_max_workspace": lambda op, x: op(x, x, x, 4, "BNSD"),
    "_npu_fusion_attention_grad_v3_get_max_workspace": lambda op, x: op(x, x, x, x, 4, "BNSD"),
}


@pytest.mark.parametrize("device", ["npu", "meta"])
@pytest.mark.parametrize("name", KIN)
def test_version_3_is_not_on_this_card(name: str, device: str) -> None:
    base, _, overload = name.partition(".")
    op = getattr(getattr(OPS, base), overload or "default")
    with pytest.raises(RuntimeError, match=rf"^{re.escape(name)}: expected .*ERR01007"):
        KIN[name](op, torch.zeros(2, 4, 6, 8, device=device))


def work_of(call: Any) -> str:
    with torch_npu_sim.trace() as trace:
        call()
    (kernel,) = [k for k in trace.kernels if k.op.startswith("npu::")]
    return kernel.work


@pytest.mark.parametrize(
    ("kwargs", "work"),
    [
        ({}, "attention b2 h4/2 64x96 d32/16 fp16"),
        ({"sparse_mode": 3}, "attention b2 h4/2 64x96 d32/16 fp16 causal"),
        ({"sparse_mode": 2}, "attention b2 h4/2 64x64 d32/16 fp16 causal"),
        (
            {"sparse_mode": 4, "pre_tockens": 7, "next_tockens": 0},
            "attention b2 h4/2 64x8 d32/16 fp16",
        ),
    ],
)
def test_work_counts_the_scores_that_are_seen(kwargs: dict[str, Any], work: str) -> None:
    query, key = (torch.zeros(2, h, s, 32).half().npu() for h, s in ((4, 64), (2, 96)))
    if kwargs:
        kwargs = kwargs | {"atten_mask": torch.ones(2048, 2048, dtype=torch.bool).triu(1).npu()}

    def call() -> None:
        torch_npu_sim.npu_fusion_attention(query, key, key[..., :16], 4, "BNSD", **kwargs)

    assert work_of(call).startswith(work)


def test_work_of_packed_sequences_is_that_of_their_lengths() -> None:
    x = torch.zeros(1024, 8, 64).bfloat16().npu()
    sums = {"actual_seq_qlen": [256, 1024], "actual_seq_kvlen": [256, 1024]}

    def call() -> None:
        torch_npu_sim.npu_fusion_attention(x, x, x, 8, "TND", **sums)

    assert work_of(call).startswith("attention b2 h8/8 512x640 d64/64 bf16")
