"""npu_top_k_top_p against a loop over the sorted logits of a row."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def filtered(row: torch.Tensor, p: float | None, k: int | None) -> torch.Tensor:
    """A row of logits without those outside of the k largest, then of the nucleus of p.

    Ties of the k-th largest stay; the smallest go while their probabilities add up to 1 - p.
    """
    kept = row.clone()
    if k is not None:
        kept[row < row.sort(descending=True).values[k - 1]] = -torch.inf
    if p is not None:
        probabilities = torch.softmax(kept.double(), -1)
        order = kept.float().argsort(stable=True).tolist()
        total = 0.0
        for place in order[:-1]:
            total += probabilities[place].item()
            if total <= 1 - p:
                kept[place] = -torch.inf
    return kept


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("limits", ["pk", "p", "k", ""])
def test_rows_keep_their_best_logits_and_their_nucleus(limits: str, dtype: torch.dtype) -> None:
    logits = (torch.randperm(5 * 40).view(5, 40) / 16).to(dtype)
    p = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0], dtype=dtype) if "p" in limits else None
    k = torch.tensor([1, 40, 7, 20, 3], dtype=torch.int32) if "k" in limits else None
    found = torch_npu_sim.npu_top_k_top_p(*on_npu((logits, p, k)))
    want = [
        filtered(row, None if p is None else p[i].item(), None if k is None else int(k[i]))
        for i, row in enumerate(logits)
    ]
    assert_equal(found, torch.stack(want))
    assert_meta_agrees(torch.ops.npu.npu_top_k_top_p, logits, p, k)


def test_equals_of_the_last_one_stay() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]])
    found = torch_npu_sim.npu_top_k_top_p(logits.npu(), k=torch.tensor([2]).int().npu())
    assert found.tolist() == [[-torch.inf, 3, 2, 2, -torch.inf]]


def test_no_rows_give_no_rows() -> None:
    none = torch.ones(0, 8).npu()
    assert torch_npu_sim.npu_top_k_top_p(none, torch.ones(0).npu()).shape == (0, 8)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"logits": torch.ones(4)}, ValueError, "expected logits of"),
        ({"logits": torch.ones(2, 4).int()}, TypeError, "expected logits of float32"),
        ({"p": torch.ones(3)}, ValueError, r"expected p of \[2\]"),
        ({"p": torch.ones(2).half()}, TypeError, "expected p of Float"),
        ({"k": torch.ones(2, 1).int()}, ValueError, r"expected k of \[2\]"),
        ({"k": torch.tensor([0, 1])}, IndexError, "expected k from 1 to 4, got 0"),
        ({"k": torch.tensor([5, 1])}, IndexError, "expected k from 1 to 4, got 5"),
        ({"k": torch.ones(2)}, TypeError, "expected k of int32"),
    ],
)
def test_filtering_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {"logits": torch.ones(2, 4)}
    with pytest.raises(error, match="npu_top_k_top_p: .*" + text):
        torch_npu_sim.npu_top_k_top_p(**on_npu(call | change))


def test_filtering_sorts_the_rows_and_sweeps_them() -> None:
    logits, p = torch.randn(4, 256).npu(), torch.ones(4).npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_top_k_top_p(logits, p)
    assert [kernel.name for kernel in trace.kernels] == ["sort", "row"]
    assert trace.kernels[1].bytes_written == 4 * 256 * 4


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(0, 3),
    columns=st.integers(0, 6),
    k=st.integers(-1, 8) | st.none(),
    p=st.floats(-0.5, 1.5) | st.none(),
)
def test_any_filter_is_right_or_refused(
    rows: int, columns: int, k: int | None, p: float | None
) -> None:
    logits = torch.randn(rows, columns)
    limits = (
        None if p is None else torch.full((rows,), p),
        None if k is None else torch.full((rows,), k, dtype=torch.int32),
    )
    try:
        found = torch_npu_sim.npu_top_k_top_p(*on_npu((logits, *limits)))
    except (ValueError, IndexError) as error:
        assert "npu_top_k_top_p: expected" in str(error)  # noqa: PT017
        return
    if logits.numel() > 0:
        assert_equal(found, torch.stack([filtered(row, p, k) for row in logits]))
