"""Works of the extension: what a call really touches."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import torch_npu_sim
from torch_npu_sim.report.kernel import Kernel

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16 = torch.bfloat16


def zeros(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, device="npu")


def ints(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32).npu()


def kernels_of(call: Callable[[], object]) -> list[Kernel]:
    with torch_npu_sim.trace() as trace:
        call()
    return [k for k in trace.kernels if k.op.startswith(("custom::", "cann_ops_transformer::"))]


def attention(queries: int, tokens: int, ratio: int, chosen: int = 0) -> list[Kernel]:
    options: dict[str, Any] = {
        "ori_kv": zeros(40, 128, 1, 512),
        "ori_block_table": ints([list(range(40))]),
        "cu_seqlens_q": ints([0, queries]),
        "seqused_kv": ints([tokens]),
        "metadata": ints([0] * 1024),
        "cmp_ratio": ratio,
        "layout_q": "TND",
    }
    if ratio > 1:
        options |= {"cmp_kv": zeros(10, 128, 1, 512), "cmp_block_table": ints([list(range(10))])}
    if chosen:
        options["cmp_sparse_indices"] = ints([[list(range(chosen))]] * queries)
    query = zeros(queries, 64, 512)
    return kernels_of(lambda: ops.npu_sparse_attn_sharedkv(query, **options))


def test_packed_keys_move_their_own_bytes() -> None:
    (kernel,) = kernels_of(
        lambda: ops.npu_kv_quant_sparse_attn_sharedkv(
            zeros(1, 64, 512),
            1,
            ori_kv=zeros(40, 128, 1, 640, dtype=torch.float8_e4m3fn),
            ori_block_table=ints([list(range(40))]),
            cu_seqlens_q=ints([0, 1]),
            seqused_kv=ints([4096]),
            metadata=ints([0] * 1024),
            layout_q="TND",
            tile_size=64,
            rope_head_dim=64,
        )
    )
    assert kernel.bytes_read == 64 * 512 * 2 + 128 * 640


def test_attention_reads_the_window_and_what_is_compressed() -> None:
    (window,) = attention(1, 4096, 1)
    assert window.work == "attention b1 h64/1 1x128 d512/512 bf16"
    assert window.bytes_read == (64 + 128) * 512 * 2
    (all_keys,) = attention(1, 4096, 128)
    assert all_keys.work == "attention b1 h64/1 1x160 d512/512 bf16"
    (chosen,) = attention(2, 4096, 4, 512)
    assert chosen.work == "attention b2 h64/1 1x640 d512/512 bf16"
    (short,) = attention(1, 101, 4, 512)
    assert short.work == "attention b1 h64/1 1x126 d512/512 bf16"


def test_the_indexer_scores_keys_of_earlier_tokens() -> None:
    kernels = kernels_of(
        lambda: ops.npu_quant_lightning_indexer(
            zeros(1, 64, 128, dtype=torch.float8_e4m3fn),
            zeros(16, 128, 1, 128, dtype=torch.float8_e4m3fn),
            zeros(1, 64),
            zeros(1, 64),
            zeros(16, 128, 1),
            0,
            0,
            actual_seq_lengths_query=ints([1]),
            actual_seq_lengths_key=ints([8191]),
            block_table=ints([list(range(16))]),
            layout_query="TND",
            sparse_count=512,
            cmp_ratio=4,
        )
    )
    assert [k.work for k in kernels] == [
        "attention b1 h64/1 1x2047 d128/0 fp8_e4m3",
        "sort 1x2047 top 512 fp32",
    ]


def test_hc_pre_is_a_product_and_its_gates() -> None:
    x, fn = zeros(16, 4, 4096), torch.zeros(24, 16384, device="npu")
    scale, base = torch.zeros(3, device="npu"), torch.zeros(24, device="npu")
    product, gates = kernels_of(lambda: ops.npu_hc_pre(x, fn, scale, base))
    assert product.work == "matmul [16, 16384] @ [16384, 24] bf16 x hf32 -> fp32"
    assert product.bytes_read >= x.nbytes + fn.nbytes
    assert (gates.fields["rows"], gates.fields["columns"]) == (16, 16)


def test_the_compressor_is_both_products_and_its_windows() -> None:
    table = ints([[1]])
    arguments = [zeros(1, 4, 4096), zeros(1024, 4096), zeros(1024, 4096)]
    states = [torch.zeros(2, 16, 2048, device="npu"), torch.zeros(4, 1024, device="npu")]
    rest = [torch.zeros(512, device="npu"), *(torch.zeros(1, 1, 64, device="npu") for _ in "sc")]
    product, windows = kernels_of(
        lambda: ops.compressor(
            *arguments, *states, *rest, 64, 4, coff=2, rotary_mode=2, state_block_table=table
        )
    )
    assert product.flops == 2 * 4 * 2048 * 4096
    assert windows.bytes_written == 4 * 2048 * 4 + 512 * 2


def test_rotation_moves_the_slice_alone() -> None:
    x, angles = zeros(2, 3, 8, 512), zeros(2, 3, 1, 64)
    (kernel,) = kernels_of(
        lambda: ops.inplace_partial_rotary_mul(
            x, angles, angles, rotary_mode="interleave", partial_slice=[448, 512]
        )
    )
    assert kernel.bytes_written == 2 * 3 * 8 * 64 * 2
    assert kernel.bytes_read == kernel.bytes_written + 2 * angles.nbytes


def test_an_epilog_writes_rows_not_caches() -> None:
    cache, x = zeros(64, 128, 1, 640, dtype=torch.float8_e4m3fn), zeros(4, 512)
    (kernel,) = kernels_of(lambda: ops.kv_compress_epilog(cache, x, ints([0, 1, 2, 3])))
    assert (kernel.bytes_read, kernel.bytes_written) == (x.nbytes + 16, 4 * 640)


def test_gating_by_a_table_reads_its_rows_alone() -> None:
    x, ids = torch.zeros(8, 256, device="npu"), torch.zeros(8, dtype=torch.int64, device="npu")
    table = torch.zeros(100_000, 6, dtype=torch.int32, device="npu")
    (kernel,) = kernels_of(lambda: ops.npu_moe_gating_top_k(x, 6, input_ids=ids, tid2eid=table))
    assert kernel.bytes_read == x.nbytes + ids.nbytes + 8 * 6 * 4
    assert kernel.bytes_written == 8 * 6 * (4 + 4)


def test_every_built_operator_is_described() -> None:
    sources = Path(__file__).parents[2] / "csrc/ops/extension"
    text = "".join(path.read_text() for path in sources.glob("*.cpp"))
    built = [
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith(("custom::", "cann_ops_transformer::"))
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    ]
    assert [name for name in built if not re.search(rf'"{name}",\s*\w', text)] == []
