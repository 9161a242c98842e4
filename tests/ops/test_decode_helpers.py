"""Multimodal rotary embedding and the inputs of the next decoding step."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

TOKENS, HEAD, ROTARY, LENGTH = 5, 16, 12, 20


def turn(x: torch.Tensor, angles: torch.Tensor, mode: str) -> torch.Tensor:
    """Rotates the first ROTARY elements of each head; `angles` [tokens, ROTARY]: cos, then sin."""
    heads = x.float().view(len(x), -1, HEAD).clone()
    for t in range(len(x)):
        for i in range(ROTARY // 2):
            a, b = (i, i + ROTARY // 2) if mode == "half" else (2 * i, 2 * i + 1)
            cos, sin = angles[t, i], angles[t, i + ROTARY // 2]
            first, second = heads[t, :, a].clone(), heads[t, :, b].clone()
            heads[t, :, a], heads[t, :, b] = first * cos - second * sin, second * cos + first * sin
    return heads.view(x.shape).to(x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["half", "interleave"])
@pytest.mark.parametrize("sections", [None, [2, 2, 2], [1, 1, 2, 2], "interleave"])
def test_mrope_turns_by_the_positions_of_each_section(
    sections: object, mode: str, dtype: torch.dtype
) -> None:
    query, key = torch.randn(TOKENS, 3 * HEAD).to(dtype), torch.randn(TOKENS, HEAD).to(dtype)
    cache = torch.randn(LENGTH, ROTARY).to(dtype)
    half = ROTARY // 2
    if sections is None:
        positions, kwargs = torch.randint(LENGTH, (TOKENS,)), {}
        source = [[0] * half] * TOKENS
    else:
        split = [2, 2, 2] if sections == "interleave" else list(sections)  # type: ignore[call-overload]
        positions = torch.randint(LENGTH, (len(split), TOKENS))
        kwargs = {"mrope_section": split}
        if sections == "interleave":
            kwargs["cache_mode"] = "interleave"
            source = [[i % 3 for i in range(half)]] * TOKENS
        else:
            source = [[s for s, n in enumerate(split) for _ in range(n)]] * TOKENS
    table = positions.view(-1, TOKENS)
    angles = torch.stack(
        [
            torch.stack([cache[table[source[t][i % half], t], i] for i in range(ROTARY)])
            for t in range(TOKENS)
        ]
    ).float()
    args = positions, query, key, cache, HEAD
    got = torch_npu_sim.npu_mrope(*on_npu(args), rotary_mode=mode, **kwargs)
    assert_equal(got[0], turn(query, angles, mode))
    assert_equal(got[1], turn(key, angles, mode))
    assert_meta_agrees(torch.ops.npu.npu_mrope, *args, rotary_mode=mode, **kwargs)


def test_mrope_refuses_a_position_beyond_its_cache() -> None:
    x = torch.ones(2, HEAD)
    with pytest.raises(IndexError, match=r"npu_mrope: expected positions in \[0, 4\)"):
        torch_npu_sim.npu_mrope(*on_npu((torch.tensor([0, 4]), x, x, torch.ones(4, ROTARY))), HEAD)


def test_mrope_refuses_sections_that_do_not_fill_the_cache() -> None:
    x = torch.ones(2, HEAD)
    with pytest.raises(ValueError, match="expected mrope_section that sums to 6"):
        torch_npu_sim.npu_mrope(
            *on_npu((torch.zeros(3, 2).long(), x, x, torch.ones(4, ROTARY))),
            HEAD,
            mrope_section=[1, 1, 1],
        )


def test_a_step_takes_the_sampled_tokens_and_the_next_places() -> None:
    tokens, positions, slots = (torch.full((4,), 9) for _ in range(3))
    lens = torch.tensor([3, 4, 5, 6])
    tables = torch.arange(8).view(4, 2)
    cards = [x.npu() for x in (tokens, positions, lens, slots)]
    torch_npu_sim.npu_advance_step_flashattn(
        cards[0], torch.tensor([[7], [8], [6]]).npu(), *cards[1:], tables.npu(), 4, 3, 4
    )
    assert cards[0].tolist() == [7, 8, 6, 0]
    assert cards[1].tolist() == [3, 4, 5, 0]
    assert cards[2].tolist() == [4, 5, 6, 6]
    assert cards[3].tolist() == [3, (1 + 2) * 4, (1 + 4) * 4 + 1, -1]


def test_a_speculated_step_moves_every_token_of_its_request() -> None:
    cards = [torch.zeros(4).long().npu() for _ in range(4)]
    cards[1].copy_(torch.tensor([3, 4, 5, 6]))
    torch_npu_sim.npu_advance_step_flashattn(
        cards[0],
        torch.tensor([[7, -1], [8, 9]]).npu(),
        *cards[1:],
        torch.tensor([[5, 6, 7], [8, 9, 4]]).npu(),
        2,
        2,
        4,
        spec_token=torch.tensor([[1], [2]]).npu(),
        accepted_num=torch.tensor([0, 1]).npu(),
    )
    assert cards[0].tolist() == [7, 1, 9, 2]
    assert cards[1].tolist() == [4, 5, 7, 8]
    assert cards[2].tolist() == [5, 6, 8, 9]
    assert cards[3].tolist() == [24, 25, 39, 16]


def test_a_step_beyond_the_block_table_is_an_index_error() -> None:
    cards = [torch.full((1,), 8).npu() for _ in range(4)]
    with pytest.raises(IndexError, match="expected block_tables with an entry 2, got 2"):
        torch_npu_sim.npu_advance_step_flashattn(
            cards[0],
            torch.ones(1, 1).long().npu(),
            *cards[1:],
            torch.ones(1, 2).long().npu(),
            1,
            1,
            4,
        )
