"""Inference attention for graphs, without values, with wrong arguments; its time; older cards."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.report.kernel import Kernel
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.infer_calls import (
    BOTH,
    HEADS,
    KV_HEADS,
    RENAMED,
    SCALE,
    WIDTH,
    call,
    operands,
)
from torch_npu_sim.testing.reference import infer_attention as reference

# --- forms for graphs, meta, nothing to do


FORMS = [
    (
        "npu_fused_infer_attention_score",
        "_npu_fused_infer_attention_score_get_max_workspace",
        "_npu_fused_infer_attention_score_infer_output",
    ),
    (
        "npu_fused_infer_attention_score_v2",
        "_npu_fused_infer_attention_score_v2_get_max_workspace",
        "_npu_fused_infer_attention_score_v2_infer_output",
    ),
]


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("lse", [False, True])
def test_results_written_where_the_caller_says(forms: tuple[str, ...], lse: bool) -> None:
    parts = on_npu(operands(2, 3, 7))
    name, workspace_of, output_of = forms
    second = name.endswith("_v2")
    names = {k: RENAMED[k] if second else k for k in ("num_heads", "scale", "softmax_lse_flag")}
    kwargs = {
        names["num_heads"]: HEADS,
        "num_key_value_heads": KV_HEADS,
        names["scale"]: SCALE,
        "input_layout": "BNSD",
        names["softmax_lse_flag"]: lse,
    }
    few = {k: v for k, v in kwargs.items() if k != names["scale"]}
    workspace = getattr(torch_npu_sim, workspace_of)(*parts, **kwargs)
    out = getattr(torch_npu_sim, output_of)(parts[0], parts[2], **few)
    want = getattr(torch_npu_sim, name)(*parts, **kwargs)
    assert workspace.dim() == 1
    assert workspace.dtype == torch.float16
    got = getattr(torch.ops.npu, name).out(*parts, **kwargs, workspace=workspace, out=list(out))
    for i in range(2):
        assert got[i].data_ptr() == out[i].data_ptr()
        assert torch.equal(out[i].cpu(), want[i].cpu())
    with pytest.raises(ValueError, match="expected out"):
        getattr(torch.ops.npu, name).out(*parts, **kwargs, out=[out[0][:1], out[1]])


@pytest.mark.parametrize("op", BOTH)
def test_shapes_without_values(op: Any) -> None:
    parts = operands(2, 3, 7)
    kwargs = {"num_heads": HEADS, "num_key_value_heads": KV_HEADS, "softmax_lse_flag": True}
    if op is BOTH[1]:
        kwargs = {RENAMED.get(k, k): v for k, v in kwargs.items()}
    for layout in ("BNSD", "BNSD_BSND", "BNSD_NBSD"):
        assert_meta_agrees(op, *parts, input_layout=layout, **kwargs)
    laid = [reference.laid_out(x, "BSH") for x in parts]
    assert_meta_agrees(op, *laid, input_layout="BSH_BNSD", **kwargs)


def test_no_queries_and_no_keys() -> None:
    query, key, value = operands(2, 3, 0)
    out, lse = call(BOTH[0], query, key, value, input_layout="BNSD", softmax_lse_flag=True)
    assert (out == 0).all()
    assert (lse == torch.inf).all()
    out, lse = call(
        BOTH[0], query[:, :, :0], key, value, input_layout="BNSD", softmax_lse_flag=True
    )
    assert out.shape == (2, HEADS, 0, WIDTH)
    assert lse.shape == (2, HEADS, 0, 1)


# --- errors


def half(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape).half()


def paged_call(**kwargs: Any) -> dict[str, Any]:
    return {
        "key": half(4, KV_HEADS, 16, WIDTH),
        "block_table": torch.zeros(2, 2).int(),
        "actual_seq_lengths_kv": [20, 3],
    } | kwargs


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"input_layout": "SBH"}, ValueError, "expected input_layout"),
        ({"input_layout": "BSH"}, ValueError, "expected query of 3 axes"),
        ({"num_heads": 3}, ValueError, "expected num_key_value_heads"),
        ({"num_heads": 0}, ValueError, "expected num_heads above 0"),
        ({"num_heads": 8}, ValueError, "expected query of 8 heads"),
        ({"num_key_value_heads": 4}, ValueError, "expected (key|value) of 4 heads"),
        (
            {"query": half(2, HEADS, 3, 8)},
            ValueError,
            "key of query's width",
        ),
        ({"query": torch.zeros(2, HEADS, 3, WIDTH)}, TypeError, "query of float16"),
        (
            {"query": torch.zeros(2, HEADS, 3, WIDTH).bfloat16()},
            TypeError,
            "key and value of",
        ),
        (
            {"query": half(1, HEADS, 3, WIDTH)},
            ValueError,
            "key of 1 sequences",
        ),
        (
            {"value": half(2, KV_HEADS, 6, WIDTH)},
            ValueError,
            "value of key's",
        ),
        ({"value": torch.zeros(2, KV_HEADS, 7, WIDTH).bfloat16()}, TypeError, "expected value of"),
        ({"actual_seq_lengths": [4]}, ValueError, r"expected actual_seq_lengths in \[0, 3\]"),
        ({"actual_seq_lengths": [-1]}, ValueError, r"expected actual_seq_lengths in \[0, 3\]"),
        ({"actual_seq_lengths_kv": [8, 1]}, ValueError, r"actual_seq_lengths_kv in \[0, 7\]"),
        ({"actual_seq_lengths_kv": []}, ValueError, "expected actual_seq_lengths_kv of one length"),
        ({"sparse_mode": 5}, ValueError, r"expected sparse_mode in \[0, 4\]"),
        ({"sparse_mode": 3}, ValueError, "expected atten_mask of .2048"),
        ({"sparse_mode": 1}, ValueError, "expected atten_mask in sparse_mode 1"),
        ({"atten_mask": torch.zeros(3, 6).bool()}, ValueError, "expected atten_mask of"),
        ({"atten_mask": torch.zeros(3, 7)}, TypeError, "expected atten_mask of bool"),
        ({"pse_shift": half(1, HEADS, 3, 6)}, ValueError, "expected pse_shift of"),
        ({"pse_shift": torch.zeros(1, HEADS, 3, 7)}, TypeError, "expected pse_shift of"),
        ({"query_rope": half(2, HEADS, 3, 8)}, ValueError, "query_rope and key_rope"),
        ({"key_antiquant_scale": torch.ones(1)}, ValueError, "expected no key_antiquant_scale"),
        ({"quant_offset2": torch.ones(1)}, ValueError, "expected quant_scale2 with quant_offset2"),
        ({"quant_scale2": torch.ones(3)}, ValueError, "expected quant_scale2 of one element"),
        (
            {"key": torch.zeros(2, KV_HEADS, 7, WIDTH).char()},
            ValueError,
            "key_antiquant_scale of",
        ),
        ({"key_shared_prefix": half(1, KV_HEADS, 2, WIDTH)}, ValueError, "together"),
        (paged_call(actual_seq_lengths_kv=None), ValueError, "lengths_kv with"),
        (
            paged_call(actual_seq_lengths_kv=[33, 3]),
            ValueError,
            "block_table with 3 blocks",
        ),
        (paged_call(block_table=torch.full((2, 2), 4).int()), IndexError, r"blocks in \[0, 4\)"),
        (paged_call(block_table=torch.full((2, 2), -1).int()), IndexError, r"blocks in \[0, 4\)"),
        (paged_call(block_table=torch.zeros(2, 2)), TypeError, "expected block_table of int32"),
        (paged_call(block_table=torch.zeros(3, 2).int()), ValueError, "expected block_table of"),
        (paged_call(key=half(4, 16)), ValueError, "with a block_table of"),
    ],
)
def test_errors_name_the_argument(kwargs: dict[str, Any], error: type, words: str) -> None:
    parts = dict(zip(("query", "key", "value"), operands(2, 3, 7), strict=True))
    given = parts | {"input_layout": "BNSD"} | kwargs
    if "key" in kwargs and "value" not in kwargs:
        given["value"] = given["key"]
    tensors = [given.pop(n) for n in ("query", "key", "value")]
    with pytest.raises(error, match=f"^npu_fused_infer_attention_score: .*{words}"):
        call(BOTH[0], *tensors, **given)


def test_a_layout_of_all_tokens_needs_lengths() -> None:
    parts = [reference.laid_out(x, "TND") for x in operands(1, 3, 7)]
    with pytest.raises(ValueError, match="expected actual_seq_qlen in a layout with the axis T"):
        call(BOTH[1], *parts, input_layout="TND")
    with pytest.raises(ValueError, match="expected actual_seq_qlen of running sums"):
        call(
            BOTH[1],
            *parts,
            input_layout="TND",
            actual_seq_lengths=[4, 3],
            actual_seq_lengths_kv=[4, 7],
        )
    with pytest.raises(ValueError, match="expected actual_seq_kvlen of 1 sequences"):
        call(
            BOTH[1],
            *parts,
            input_layout="TND",
            actual_seq_lengths=[3],
            actual_seq_lengths_kv=[4, 7],
        )


def test_tensors_must_be_on_the_card() -> None:
    with pytest.raises(ValueError, match="expected tensors on npu"):
        torch_npu_sim.npu_fused_infer_attention_score(*operands(1, 1, 1), num_heads=HEADS)


# --- time


def kernels_of(run: Callable[[], object]) -> list[Kernel]:
    with torch_npu_sim.trace() as trace:
        run()
    return [k for k in trace.kernels if k.op.startswith("npu::")]


def zeros(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, device="npu")


@pytest.mark.parametrize(
    ("lengths", "work"),
    [
        ([4096] * 4, "attention b4 h32/8 1x4096 d128/128 bf16"),
        ([4096, 96, 4, 0], "attention b3 h32/8 1x1398 d128/128 bf16"),
        ([0, 0, 0, 0], None),
    ],
)
def test_time_counts_the_actual_lengths(lengths: list[int], work: str | None) -> None:
    query, cache = zeros(4, 32, 1, 128), zeros(64, 8, 128, 128)
    table = torch.zeros(4, 32).int().npu()
    kernels = kernels_of(
        lambda: torch_npu_sim.npu_fused_infer_attention_score(
            query,
            cache,
            torch.zeros_like(cache),
            num_heads=32,
            num_key_value_heads=8,
            input_layout="BNSD",
            block_table=table,
            actual_seq_lengths_kv=lengths,
        )
    )
    assert [k.work for k in kernels] == ([] if work is None else [work])


def test_latent_attention_reads_its_keys_once() -> None:
    query, rope, keys, key_rope = (
        zeros(1, 128, 1, 512),
        zeros(1, 128, 1, 64),
        zeros(1, 1, 2048, 512),
        zeros(1, 1, 2048, 64),
    )
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_fused_infer_attention_score_v2(
            query,
            keys,
            keys,
            query_rope=rope,
            key_rope=key_rope,
            num_query_heads=128,
            num_key_value_heads=1,
            input_layout="BNSD",
        )
    )
    assert kernel.work == "attention b1 h128/1 1x2048 d576/512 bf16"
    assert kernel.bytes_read == (128 + 2048) * 576 * 2
    assert kernel.bytes_written == 128 * 512 * 2


def test_a_quantised_cache_moves_the_bytes_it_is_stored_in() -> None:
    query, keys = zeros(2, 32, 1, 128), zeros(2, 8, 4096, 128, dtype=torch.int8)
    scale = torch.ones(8, 128).bfloat16().npu()
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_fused_infer_attention_score(
            query,
            keys,
            torch.zeros_like(keys),
            num_heads=32,
            num_key_value_heads=8,
            input_layout="BNSD",
            key_antiquant_scale=scale,
            value_antiquant_scale=scale,
        )
    )
    assert kernel.bytes_read == query.nbytes + 2 * keys.nbytes


# --- cards before the Ascend 950


def test_older_operators_are_refused() -> None:
    parts = on_npu(operands(1, 2, 3))
    for op in (
        torch_npu_sim.npu_prompt_flash_attention,
        torch_npu_sim.npu_incre_flash_attention,
    ):
        with pytest.raises(RuntimeError, match="npu_(prompt|incre)_flash_attention.*ERR01007"):
            op(*parts, num_heads=HEADS, num_key_value_heads=KV_HEADS, input_layout="BNSD")


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("npu_nsa_compress", (2, 16, 16)),
        ("npu_nsa_compress_grad", (3, 16, 16)),
        ("npu_nsa_compress_attention", (3, 1.0, 4, 32, 16, 64, 1)),
        ("npu_nsa_compress_attention_infer", (3, 1.0, 4, 4, 64, 1, 64, 32, 16)),
        ("npu_nsa_select_attention", (4, 1.0, 4, 64, 1)),
        ("npu_nsa_select_attention_grad", (8, 1.0, 4, 64, 1)),
        ("npu_nsa_select_attention_infer", (4, 1.0, 4, 4, 64, 1, 64)),
        ("npu_block_sparse_attention", (4, [128, 128])),
        (
            "npu_block_sparse_attention_backward",
            (7, [128, 128], [4], [4], "TND", "TND", 4, 1.0),
        ),
    ],
)
def test_native_sparse_attention_is_refused(op: str, arguments: tuple[Any, ...]) -> None:
    tensors, *rest = arguments
    part = torch.zeros(4, 4, 16).half().npu()
    with pytest.raises(RuntimeError, match=f"^{op}: expected a card with this kernel.*ERR01007"):
        getattr(torch_npu_sim, op)(*[part] * tensors, *rest)


def test_compression_into_a_cache_is_refused() -> None:
    part, slots = torch.zeros(4, 4, 16).half().npu(), torch.zeros(1).int().npu()
    with pytest.raises(RuntimeError, match="npu_nsa_compress_infer: .*ERR01007"):
        torch_npu_sim.npu_nsa_compress_infer(part, part, slots, 16, 16, 64, cache=part)


OLDER = """
import torch, torch_npu_sim
from torch_npu_sim.testing.reference import infer_attention as reference
q, k, v = torch.randn(2, 4, 5, 16).half(), *torch.randn(2, 2, 2, 7, 16).half()
out = torch_npu_sim.npu_prompt_flash_attention(
    q.npu(), k.npu(), v.npu(), num_heads=4, num_key_value_heads=2, scale_value=0.25,
    input_layout="BNSD_BSND", actual_seq_lengths=[5, 3], actual_seq_lengths_kv=[7, 4],
    atten_mask=torch.ones(2048, 2048).bool().triu(1).npu(), sparse_mode=13)
for b, (n, m) in enumerate([(5, 7), (3, 4)]):
    seen = reference.visible(3, n, m, 0, 0)
    want, _ = reference.attend(q[b, :, :n], k[b, :, :m], v[b, :, :m], 0.25, seen=seen)
    torch.testing.assert_close(
        out[b, :n].transpose(0, 1).cpu().double(), want, rtol=1e-2, atol=1e-2)
assert (out[1, 3:] == 0).all()
cache = torch.randn(3, 16, 32).half()
table = torch.tensor([[2, 0], [1, 1]]).int()
one = torch.randn(2, 1, 64).half()
out = torch_npu_sim.npu_incre_flash_attention(
    one.npu(), cache.npu(), cache.npu(), num_heads=4, num_key_value_heads=2, scale_value=0.25,
    block_table=table.npu(), block_size=16, actual_seq_lengths=[20, 3])
for b, n in enumerate((20, 3)):
    rows = cache[table[b].long()].flatten(0, 1)[:n].unflatten(-1, (2, 16)).transpose(0, 1)
    want, _ = reference.attend(one[b].view(1, 4, 16).transpose(0, 1), rows, rows, 0.25)
    torch.testing.assert_close(
        out[b].view(4, 1, 16).cpu().double(), want, rtol=1e-2, atol=1e-2)
print("done")
"""


def test_older_operators_compute_on_older_cards(run_python: Any) -> None:
    assert run_python(OLDER, NPU_SIM_CHIP="ascend910b2").stdout.strip() == "done"
