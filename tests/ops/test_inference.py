"""npu_advance_step_flashattn and npu_prefetch."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, on_npu

OPS = torch.ops.npu


def test_a_step_takes_the_sampled_token_and_pads_the_rest() -> None:
    tokens, positions, slots = torch.full((3,), 9), torch.full((3,), 9), torch.full((3,), 9)
    lengths, blocks = torch.tensor([5, 8, 2]), torch.tensor([[7, 3, 6], [1, 2, 0], [4, 5, 8]])
    card = on_npu((tokens, positions, lengths, slots))
    sampled = torch.tensor([[40], [41]]).npu()
    OPS.npu_advance_step_flashattn(card[0], sampled, *card[1:], blocks.npu(), 3, 2, 4)
    assert_equal(card[0], torch.tensor([40, 41, 0]))
    assert_equal(card[1], torch.tensor([5, 8, 0]))
    assert_equal(card[2], torch.tensor([6, 9, 2]))
    assert_equal(card[3], torch.tensor([3 * 4 + 1, 0 * 4 + 0, -1]))


def test_a_step_with_proposals_takes_the_last_accepted_token() -> None:
    tokens, lengths, slots = (torch.zeros(4, dtype=torch.int64) for _ in range(3))
    positions = torch.tensor([3, 4, 0, 1])
    card = on_npu((tokens, positions, lengths, slots))
    sampled, proposed = torch.tensor([[50, 51], [60, -1]]), torch.tensor([[70], [71]])
    blocks = torch.tensor([[2, 9], [5, 1]])
    OPS.npu_advance_step_flashattn(
        card[0], sampled.npu(), *card[1:], blocks.npu(), 2, 2, 4,
        spec_token=proposed.npu(), accepted_num=torch.tensor([1, 0]).npu(),
    )  # fmt: skip
    assert_equal(card[0], torch.tensor([51, 70, 60, 71]))
    assert_equal(card[1], torch.tensor([5, 6, 1, 2]))
    assert_equal(card[2], torch.tensor([6, 7, 2, 3]))
    assert_equal(card[3], torch.tensor([9 * 4 + 1, 9 * 4 + 2, 5 * 4 + 1, 5 * 4 + 2]))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"block_size": 0}, ValueError, "positive num_seqs"),
        ({"seq_lens": torch.tensor([1, 2, 3])}, ValueError, r"slot_mapping \[2\]"),
        ({"seq_lens": torch.tensor([1, 99])}, IndexError, "in block 24"),
        ({"sampled_token_ids": torch.tensor([[1]])}, ValueError, "sampled_token_ids"),
        ({"block_tables": torch.tensor([[1, 2]])}, ValueError, "expected block_tables"),
        ({"input_tokens": torch.zeros(2)}, TypeError, "of int64"),
        ({"spec_token": torch.tensor([[1], [2]])}, ValueError, "together"),
    ],
)
def test_a_step_names_what_is_wrong(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    arguments = {
        "input_tokens": torch.zeros(2, dtype=torch.int64),
        "sampled_token_ids": torch.tensor([[1], [2]]),
        "input_positions": torch.zeros(2, dtype=torch.int64),
        "seq_lens": torch.tensor([1, 2]),
        "slot_mapping": torch.zeros(2, dtype=torch.int64),
        "block_tables": torch.tensor([[1, 2], [3, 4]]),
        "num_seqs": 2,
        "num_queries": 2,
        "block_size": 4,
        **change,
    }
    with pytest.raises(error, match=f"npu_advance_step_flashattn: .*{words}"):
        OPS.npu_advance_step_flashattn(**on_npu(arguments))


@pytest.mark.parametrize(
    ("size", "offset", "read"), [(1000, 0, 1000), (9999, 0, 4096), (9999, 96, 4000)]
)
def test_a_prefetch_reads_no_more_than_there_is(size: int, offset: int, read: int) -> None:
    weight = torch.zeros(1024).npu()
    with torch_npu_sim.trace() as trace:
        assert OPS.npu_prefetch(weight, None, size, offset) is None
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (read, 0)


@pytest.mark.parametrize(("size", "offset"), [(0, 0), (8, 4096), (8, -1)])
def test_a_prefetch_names_what_is_wrong(size: int, offset: int) -> None:
    with pytest.raises(ValueError, match="npu_prefetch: .*(max_size|offset)"):
        OPS.npu_prefetch(torch.zeros(1024).npu(), None, size, offset)
