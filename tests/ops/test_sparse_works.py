"""Works of caches and sparse attention: real volumes, not whole caches."""

from collections.abc import Callable

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.report.kernel import Kernel

BF16 = torch.bfloat16


def zeros(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, device="npu")


def ints(values: object) -> torch.Tensor:
    return torch.tensor(values).int().npu()


def kernels_of(call: Callable[[], object]) -> list[Kernel]:
    with torch_npu_sim.trace() as trace:
        call()
    return [k for k in trace.kernels if k.op.startswith("npu::")]


@pytest.mark.parametrize(
    ("lengths", "scores", "sort"),
    [
        ([4096] * 4, "attention b4 h64/1 1x4096 d128/0 bf16 causal", "sort 4x4096 top 2048 fp32"),
        ([4096, 96, 4, 0], "attention b3 h64/1 1x1398 d128/0 bf16", "sort 3x1398 fp32"),
    ],
)
def test_the_indexer_scores_the_actual_lengths(lengths: list[int], scores: str, sort: str) -> None:
    query, key, weights = zeros(4, 1, 64, 128), zeros(64, 256, 1, 128), zeros(4, 1, 64)
    kwargs = {
        "actual_seq_lengths_query": ints([1] * 4),
        "actual_seq_lengths_key": ints(lengths),
        "block_table": ints(torch.arange(64).view(4, 16).tolist()),
    }
    kernels = kernels_of(
        lambda: torch_npu_sim.npu_lightning_indexer(
            query, key, weights, layout_key="PA_BSND", **kwargs
        )
    )
    assert [k.work for k in kernels] == [scores, sort]


@pytest.mark.parametrize(("length", "keys"), [(4096, 2048), (100, 100)])
def test_sparse_attention_reads_the_chosen_keys_alone(length: int, keys: int) -> None:
    query, rope = zeros(1, 1, 128, 512), zeros(1, 1, 128, 64)
    cache, cache_rope = zeros(16, 256, 1, 512), zeros(16, 256, 1, 64)
    indices, table = ints([[[list(range(2048))]]]), ints([list(range(16))])
    lengths = ints([length])
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_sparse_flash_attention(
            query,
            cache,
            cache,
            indices,
            0.04,
            block_table=table,
            actual_seq_lengths_kv=lengths,
            query_rope=rope,
            key_rope=cache_rope,
            layout_kv="PA_BSND",
            attention_mode=2,
        )
    )
    assert kernel.work == f"attention b1 h128/1 1x{keys} d576/512 bf16"
    assert kernel.bytes_read == (128 + keys) * 576 * 2
    assert kernel.bytes_written == 128 * 512 * 2


def test_the_prolog_is_its_four_products() -> None:
    x, caches = zeros(4, 1024), (zeros(8, 128, 1, 512), zeros(8, 128, 1, 64))
    weights = zeros(1024, 256), zeros(256, 2 * 192), zeros(2, 128, 512), zeros(1024, 576)
    norms, angles, slots = (zeros(256), zeros(512)), zeros(4, 64), torch.arange(4).npu()
    kernels = kernels_of(
        lambda: torch_npu_sim.npu_mla_prolog_v3(
            x, *weights, *norms, angles, angles, *caches, cache_index=slots
        )
    )
    assert [k.work for k in kernels] == [
        "matmul [4, 1024] @ [1024, 256] bf16",
        "matmul [4, 256] @ [256, 384] bf16",
        "matmul 2 x [4, 128] @ [128, 512] bf16",
        "matmul [4, 1024] @ [1024, 576] bf16",
    ]


def test_a_cache_is_written_at_its_tokens_rows_alone() -> None:
    kv, angles = zeros(64, 1, 1, 576), zeros(64, 1, 1, 64)
    gamma, index = zeros(512), torch.arange(64).npu()
    caches = zeros(576, 128, 1, 64), zeros(576, 128, 1, 512)
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_kv_rmsnorm_rope_cache_v2(
            kv, gamma, angles, angles, index, *caches, cache_mode="PA"
        )
    )
    assert kernel.bytes_read == 2 * (64 * 576 + 512 + 2 * 64 * 64) + 8 * 64
    assert kernel.bytes_written == 2 * 64 * 576


@pytest.mark.parametrize(("mode", "item"), [("PA_NZ", 32), ("Norm", 2048)])
def test_a_scatter_moves_its_tokens_in_the_runs_of_its_layout(mode: str, item: int) -> None:
    key = zeros(64, 8, 128)
    shape = (4, 64, 128, 16) if mode == "PA_NZ" else (4, 128, 8, 128)
    caches, slots = (zeros(*shape), zeros(*shape)), torch.arange(64).int().npu()
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_scatter_pa_kv_cache(key, key, *caches, slots, cache_mode=mode)
    )
    assert kernel.work == f"gather {2 * 64 * 2048 // item} x {item} B scattered"


def test_a_gather_reads_the_tokens_of_its_sequences() -> None:
    caches = zeros(16, 128, 8, 128), zeros(16, 128, 8, 128)
    out = zeros(600, 8, 128), zeros(600, 8, 128)
    table, lengths = ints(torch.arange(8).view(2, 4).tolist()), ints([300, 200])
    (kernel,) = kernels_of(
        lambda: torch_npu_sim.npu_gather_pa_kv_cache(*caches, table, lengths, *out)
    )
    assert kernel.bytes_written == 2 * 500 * 2048
