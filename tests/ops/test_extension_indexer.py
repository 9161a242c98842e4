"""Indexers over compressed keys against sorted scores of each query."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import extension
from torch_npu_sim.testing.reference.sparse import paged

torch_npu_sim.enable_custom_ops()
ops, cann = torch.ops.custom, torch.ops.cann_ops_transformer

E4M3 = torch.float8_e4m3fn
BLOCK, HEADS, WIDTH = 16, 4, 32


def ints(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


class Case:
    """Queries and paged keys of two sequences, `queries` and `tokens` long, quantised."""

    def __init__(
        self, queries: list[int], tokens: list[int], ratio: int, dtype: torch.dtype = E4M3
    ) -> None:
        """Draws the tensors."""
        self.queries, self.tokens, self.ratio = queries, tokens, ratio
        keys = [t // ratio for t in tokens]
        scale = 40 if dtype == torch.int8 else 1
        self.dense = [(torch.randn(k, WIDTH) * scale).to(dtype) for k in keys]
        self.query = (torch.randn(sum(queries), HEADS, WIDTH) * scale).to(dtype)
        self.weights = torch.randn(sum(queries), HEADS)
        self.query_scale = torch.rand(sum(queries), HEADS) + 0.5
        self.key_scales = [torch.rand(k) + 0.5 for k in keys]
        self.table = torch.randperm(16)[:8].view(2, 4).int()
        pages = [
            paged(d.float(), BLOCK, self.table[i].tolist(), 16) for i, d in enumerate(self.dense)
        ]
        scales = [
            paged(s, BLOCK, self.table[i].tolist(), 16) for i, s in enumerate(self.key_scales)
        ]
        self.key = (pages[0] + pages[1]).unsqueeze(2).to(dtype)
        self.key_scale = (scales[0] + scales[1]).unsqueeze(2)

    def call(self, **more: Any) -> tuple[list[Any], dict[str, Any]]:
        arguments = [self.query, self.key, self.weights, self.query_scale, self.key_scale, 0, 0]
        options = {
            "actual_seq_lengths_query": ints(self.queries).cumsum(0).int(),
            "actual_seq_lengths_key": ints(self.tokens),
            "block_table": self.table,
            "layout_query": "TND",
            "sparse_count": 8,
            "cmp_ratio": self.ratio,
        }
        return arguments, options | more

    def want(self, count: int, causal: bool = True) -> torch.Tensor:
        out, first = [], 0
        for i, length in enumerate(self.queries):
            rows = slice(first, first + length)
            query = self.query[rows].float() * self.query_scale[rows, :, None]
            keys = self.dense[i].float() * self.key_scales[i][:, None]
            tokens = self.tokens[i] if causal else 10**6
            keys_seen = keys if causal else keys[: self.tokens[i] // self.ratio]
            out.append(
                extension.index_choice(
                    query, keys_seen, self.weights[rows], tokens, self.ratio, count
                )
            )
            first += length
        return torch.cat(out)[:, None]


@pytest.mark.parametrize("dtype", [E4M3, torch.int8])
@pytest.mark.parametrize("ratio", [1, 4])
@pytest.mark.parametrize(
    ("queries", "tokens"), [([3, 1], [50, 17]), ([1, 7], [3, 7]), ([2, 2], [64, 2])]
)
def test_queries_choose_among_the_keys_of_earlier_tokens(
    queries: list[int], tokens: list[int], ratio: int, dtype: torch.dtype
) -> None:
    case = Case(queries, tokens, ratio, dtype)
    arguments, options = case.call()
    got, values = ops.npu_quant_lightning_indexer(*on_npu(arguments), **on_npu(options))
    assert torch.equal(got.cpu(), case.want(8))
    assert values.numel() == 0
    assert_meta_agrees(ops.npu_quant_lightning_indexer, *arguments, **options)


def test_without_a_mask_all_keys_may_be_chosen() -> None:
    case = Case([2, 2], [40, 24], 4)
    arguments, options = case.call(sparse_mode=0)
    got, _ = ops.npu_quant_lightning_indexer(*on_npu(arguments), **on_npu(options))
    assert torch.equal(got.cpu(), case.want(8, causal=False))


def test_batches_of_equal_length_need_no_running_sums() -> None:
    case = Case([3, 3], [30, 44], 4)
    arguments, options = case.call(layout_query="BSND", actual_seq_lengths_query=None)
    for i in (0, 2, 3):
        arguments[i] = arguments[i].unflatten(0, (2, 3))
    got, _ = ops.npu_quant_lightning_indexer(*on_npu(arguments), **on_npu(options))
    assert torch.equal(got.cpu().flatten(0, 1), case.want(8))


@pytest.mark.parametrize("mode", [1, 2, 4])
def test_the_other_packages_indexer_counts_compressed_keys(mode: int) -> None:
    case = Case([3, 1], [50, 17], 4, torch.int8 if mode == 2 else E4M3)
    options = {
        "cu_seqlens_q": ints([0, 3, 4]),
        "seqused_k": ints([12, 4]),
        "cmp_residual_k": ints([2, 1]),
        "block_table": case.table,
        "layout_q": "TND",
        "layout_k": "PA_BBND",
        "mask_mode": 3,
        "cmp_ratio": 4,
    }
    if mode == 4:
        codes = torch.randint(8, 40, case.query.shape, dtype=torch.uint8)
        keys = [torch.randint(8, 40, d.shape, dtype=torch.uint8) for d in case.dense]
        pages = [paged(k, BLOCK, case.table[i].tolist(), 16) for i, k in enumerate(keys)]
        case.query, case.dense = extension.hifloat8(codes), [extension.hifloat8(k) for k in keys]
        case.query_scale, case.key_scales = torch.ones(4, HEADS), [torch.ones(len(k)) for k in keys]
        tensors = [
            codes,
            (pages[0] + pages[1]).unsqueeze(2),
            case.weights,
            torch.ones(1),
            torch.ones(1),
        ]
    else:
        tensors = [case.query, case.key, case.weights, case.query_scale, case.key_scale]
    got, _ = cann.quant_lightning_indexer(*on_npu(tensors), 8, mode, **on_npu(options))
    assert torch.equal(got.cpu(), case.want(8))
    assert_meta_agrees(cann.quant_lightning_indexer, *tensors, 8, mode, **options)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cmp_ratio": 3}, "cmp_ratio of 1, 4 or 128"),
        ({"layout_key": "BSND"}, "key layout of PA_BSND"),
        ({"layout_query": "BND"}, "query layout of BSND or TND"),
        ({"sparse_count": 0}, "a number of keys"),
        ({"sparse_mode": 2}, "sparse_mode 0"),
        ({"return_value": True}, "return_value=False"),
        ({"actual_seq_lengths_key": None}, "actual_seq_lengths_key, got None"),
        ({"actual_seq_lengths_query": None}, "actual_seq_lengths_query"),
        ({"block_table": None}, "block_table"),
        ({"block_table": torch.full((2, 4), 16, dtype=torch.int32)}, "block_table with blocks"),
        ({"actual_seq_lengths_key": ints([999, 1])}, "block_table with"),
    ],
)
def test_the_indexer_names_the_option_it_refuses(change: dict[str, Any], text: str) -> None:
    arguments, options = Case([3, 1], [50, 17], 4).call(**change)
    with pytest.raises(
        (ValueError, IndexError), match=f"npu_quant_lightning_indexer: expected .*{text}"
    ):
        ops.npu_quant_lightning_indexer(*on_npu(arguments), **on_npu(options))


@pytest.mark.parametrize(
    ("index", "tensor", "text"),
    [
        (0, torch.zeros(4, HEADS, WIDTH), "query of int8"),
        (0, torch.zeros(4, WIDTH).to(E4M3), "query of 3 axes"),
        (1, torch.zeros(16, 16, 1, 31).to(E4M3), "key of \\[blocks"),
        (2, torch.zeros(4, 3), "weights of"),
        (3, torch.zeros(4, 3), "query_dequant_scale of"),
        (4, torch.zeros(16, 16), "key_dequant_scale of"),
    ],
)
def test_the_indexer_names_the_tensor_it_refuses(
    index: int, tensor: torch.Tensor, text: str
) -> None:
    arguments, options = Case([3, 1], [50, 17], 4).call()
    arguments[index] = tensor
    with pytest.raises(
        (ValueError, TypeError), match=f"npu_quant_lightning_indexer: expected .*{text}"
    ):
        ops.npu_quant_lightning_indexer(*on_npu(arguments), **on_npu(options))
