"""The gated delta rule and causal convolutions against token-by-token formulas."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import recurrence as formulas

OPS = torch.ops.npu
BF16 = torch.bfloat16


def delta_inputs(tokens: int, nk: int = 2, nv: int = 4, dk: int = 8, dv: int = 6) -> dict[str, Any]:
    unit = torch.nn.functional.normalize
    return {
        "query": unit(torch.randn(tokens, nk, dk), dim=-1).to(BF16),
        "key": unit(torch.randn(tokens, nk, dk), dim=-1).to(BF16),
        "value": torch.randn(tokens, nv, dv).to(BF16),
        "beta": torch.rand(tokens, nv).to(BF16),
        "g": -torch.rand(tokens, nv),
    }


def sequence(inputs: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    return {name: x[begin:end] for name, x in inputs.items()}


@pytest.mark.parametrize("state_dtype", [BF16, torch.float32])
@pytest.mark.parametrize("lengths", [[5], [1, 70], [3, 0, 2]])
def test_the_chunked_rule_follows_the_recurrence(
    lengths: list[int], state_dtype: torch.dtype
) -> None:
    inputs = delta_inputs(sum(lengths))
    state = torch.randn(len(lengths), 4, 6, 8).to(state_dtype)
    extra = {"initial_state": state, "actual_seq_lengths": torch.tensor(lengths).int()}
    out, final = OPS.npu_chunk_gated_delta_rule(**on_npu({**inputs, **extra}), scale=0.3)
    begin = 0
    for i, length in enumerate(lengths):
        if length == 0:
            assert_equal(final[i], state[i])
            continue
        part = sequence(inputs, begin, begin + length)
        want, states = formulas.gated_delta_rule(**part, state=state[i], scale=0.3)
        assert_equal(out[begin : begin + length], want.to(BF16))
        assert_equal(final[i], states[-1].to(state_dtype))
        begin += length
    assert_meta_agrees(OPS.npu_chunk_gated_delta_rule, **inputs, **extra, scale=0.3)


@pytest.mark.parametrize("with_gk", [False, True])
@pytest.mark.parametrize("accepted", [None, [2, 1, 3]])
def test_the_recurrent_rule_keeps_the_state_of_every_token(
    accepted: list[int] | None, with_gk: bool
) -> None:
    lengths, nv, dv, dk = [2, 1, 3], 4, 6, 8
    inputs = delta_inputs(6)
    if with_gk:
        inputs["gk"] = -torch.rand(6, nv, dk)
    blocks = torch.randperm(9)[:6].int()
    state = torch.randn(9, nv, dv, dk).to(BF16)
    extra: dict[str, Any] = {
        "actual_seq_lengths": torch.tensor(lengths).int(),
        "ssm_state_indices": blocks,
        "num_accepted_tokens": None if accepted is None else torch.tensor(accepted).int(),
    }
    on_card = on_npu({**inputs, **extra})
    card_state = state.npu()
    out, moved = OPS.npu_recurrent_gated_delta_rule_functional(
        **on_card, state=card_state, scale=0.5
    )
    assert_equal(card_state, state)
    in_place = OPS.npu_recurrent_gated_delta_rule(**on_card, state=card_state, scale=0.5)
    assert torch.equal(in_place, out) and torch.equal(card_state, moved)

    want_state, begin = state.clone(), 0
    for i, length in enumerate(lengths):
        first = begin + (accepted[i] if accepted else 1) - 1
        part = sequence(inputs, begin, begin + length)
        start = state[blocks[first]]
        want, states = formulas.gated_delta_rule(**part, state=start, scale=0.5)
        assert_equal(out[begin : begin + length], want.to(BF16))
        for t, one in enumerate(states):
            want_state[blocks[begin + t]] = one.to(BF16)
        begin += length
    assert_equal(moved, want_state)
    assert_meta_agrees(
        OPS.npu_recurrent_gated_delta_rule_functional, **inputs, **extra, state=state, scale=0.5
    )


def test_the_recurrent_rule_writes_a_state_that_is_a_view() -> None:
    inputs = delta_inputs(2)
    pool = torch.zeros(4, 4, 6, 16, dtype=BF16).npu()
    extra = {
        "actual_seq_lengths": torch.tensor([2]).int(),
        "ssm_state_indices": torch.tensor([1, 3]).int(),
    }
    OPS.npu_recurrent_gated_delta_rule(
        **on_npu({**inputs, **extra}), state=pool[..., ::2], scale=1.0
    )
    assert pool[1, ..., ::2].any() and pool[3, ..., ::2].any()
    assert not pool[..., 1::2].any() and not pool[0].any()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"scale": None}, ValueError, "expected scale"),
        ({"ssm_state_indices": None}, ValueError, "expected ssm_state_indices"),
        ({"ssm_state_indices": torch.tensor([0, 9]).int()}, IndexError, "got 9"),
        ({"actual_seq_lengths": torch.tensor([3]).int()}, ValueError, "sum T = 2, got 3"),
        ({"num_accepted_tokens": torch.tensor([3]).int()}, ValueError, "num_accepted_tokens"),
        ({"value": torch.zeros(2, 3, 6).to(BF16)}, ValueError, "Nk a divisor of Nv"),
        ({"key": torch.zeros(2, 2, 9).to(BF16)}, ValueError, "expected key"),
        ({"state": torch.zeros(4, 4, 6, 9).to(BF16)}, ValueError, "expected a state"),
        ({"query": torch.zeros(2, 2, 8)}, TypeError, "of bfloat16"),
        ({"g": torch.zeros(2, 3)}, ValueError, "expected g"),
    ],
)
def test_the_recurrent_rule_names_what_is_wrong(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    arguments = {
        **delta_inputs(2),
        "state": torch.zeros(4, 4, 6, 8).to(BF16),
        "scale": 1.0,
        "actual_seq_lengths": torch.tensor([2]).int(),
        "ssm_state_indices": torch.tensor([0, 1]).int(),
        **change,
    }
    with pytest.raises(error, match=f"npu_recurrent_gated_delta_rule: .*{words}"):
        OPS.npu_recurrent_gated_delta_rule(**on_npu(arguments))


def test_the_recurrent_rule_reads_a_state_a_sequence_and_writes_one_a_token() -> None:
    inputs, state = delta_inputs(6), torch.zeros(16, 4, 6, 8).to(BF16)
    extra = {
        "actual_seq_lengths": torch.tensor([3, 3]).int(),
        "ssm_state_indices": torch.arange(6).int(),
    }
    on_card = on_npu({**inputs, **extra, "state": state})
    with torch_npu_sim.trace() as trace:
        OPS.npu_recurrent_gated_delta_rule(**on_card, scale=1.0)
    (kernel,) = trace.kernels
    block = 4 * 6 * 8 * 2
    tensors = [*inputs.values(), *extra.values()]
    vectors = sum(x.numel() * x.element_size() for x in tensors)
    assert kernel.bytes_read == vectors + 2 * block
    assert kernel.bytes_written == 6 * 4 * 6 * 2 + 6 * block


@pytest.mark.parametrize("dtype", [torch.float16, BF16, torch.float32])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_masked_convolution_follows_its_formula(
    masked: bool, length: int, dtype: torch.dtype
) -> None:
    x, weight = torch.randn(length, 2, 5, dtype=dtype), torch.randn(3, 5, dtype=dtype)
    mask = torch.rand(2, length) > 0.4 if masked else None
    y = OPS.npu_masked_causal_conv1d(*on_npu((x, weight)), mask=on_npu(mask))
    assert_equal(y, formulas.masked_causal_conv1d(x.double(), weight.double(), mask).to(dtype))
    assert_meta_agrees(OPS.npu_masked_causal_conv1d, x, weight, mask=mask)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_gradient_of_the_masked_convolution_passes_gradcheck(length: int) -> None:
    x = torch.randn(length, 2, 3, dtype=torch.float64, device="npu", requires_grad=True)
    weight = torch.randn(3, 3, dtype=torch.float64, device="npu", requires_grad=True)
    mask = (torch.rand(2, length) > 0.3).npu()
    call = OPS.npu_masked_causal_conv1d
    assert torch.autograd.gradcheck(lambda x, w: call(x, w, mask=mask), (x, weight))


@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize(("accepted", "computed"), [(None, None), ([1, 3], None), (None, [0, 5])])
def test_the_fused_convolution_continues_from_its_cache(
    accepted: list[int] | None, computed: list[int] | None, residual: int
) -> None:
    tokens = [torch.randn(4, 5).half(), torch.randn(3, 5).half()]
    weight, states = torch.randn(3, 5).half(), torch.randn(6, 4, 5).half()
    card = states.npu()
    y = OPS.npu_fused_causal_conv1d(
        torch.cat(tokens).npu(),
        weight.npu(),
        card,
        query_start_loc=torch.tensor([0, 4, 7]).int().npu(),
        cache_indices=torch.tensor([4, 1]).int().npu(),
        num_accepted_tokens=None if accepted is None else torch.tensor(accepted).int().npu(),
        num_computed_tokens=None if computed is None else torch.tensor(computed).int().npu(),
        residual_connection=residual,
    )
    want, lines = formulas.causal_conv1d(
        tokens,
        weight,
        [states[4], states[1]],
        accepted=accepted,
        computed=computed,
        residual=bool(residual),
    )
    assert_equal(y, torch.cat(want))
    moved = states.clone()
    moved[4], moved[1] = lines
    assert torch.equal(card.cpu(), moved)


def test_the_fused_convolution_in_place_equals_the_other() -> None:
    x, weight, states = torch.randn(2, 3, 4), torch.randn(3, 4), torch.randn(2, 2, 4)
    one, two = states.npu(), states.npu()
    y = OPS.npu_fused_causal_conv1d(x.npu(), weight.npu(), one)
    card = x.npu()
    assert OPS.npu_fused_causal_conv1d_v2(card, weight.npu(), two) is None
    assert torch.equal(card, y) and torch.equal(one, two)


def test_a_padding_sequence_is_skipped() -> None:
    x, weight, states = torch.randn(2, 3, 4), torch.randn(3, 4), torch.randn(2, 2, 4)
    card = states.npu()
    indices = torch.tensor([-1, 0]).int().npu()
    y = OPS.npu_fused_causal_conv1d(x.npu(), weight.npu(), card, cache_indices=indices)
    want, lines = formulas.causal_conv1d([x[1]], weight, [states[0]])
    assert_equal(y[1], want[0])
    assert not y[0].any()
    assert torch.equal(card.cpu(), torch.stack([lines[0], states[1]]))


def test_pangu_zeroes_tokens_without_a_whole_history() -> None:
    x, weight, states = torch.randn(2, 3, 4), torch.randn(3, 4), torch.randn(2, 2, 4)
    computed = torch.tensor([0, 1]).int().npu()
    y = OPS.npu_fused_causal_conv1d(
        *on_npu((x, weight, states)), num_computed_tokens=computed, conv_mode="pangu"
    )
    assert not y[0, :2].any() and y[0, 2].any()
    assert not y[1, :1].any() and y[1, 1].any()


def test_full_pages_keep_their_own_last_tokens() -> None:
    # a sequence of 2 computed and 7 new tokens in pages of 4: pages 0 and 1 become full
    x, weight, states = torch.randn(7, 2), torch.randn(3, 2), torch.randn(5, 2, 2)
    card = states.npu()
    y = OPS.npu_fused_causal_conv1d(
        x.npu(),
        weight.npu(),
        card,
        query_start_loc=torch.tensor([0, 7]).int().npu(),
        cache_indices=torch.tensor([[3, 1, 4]]).int().npu(),
        num_computed_tokens=torch.tensor([2]).int().npu(),
        block_idx_first_scheduled_token=torch.tensor([0]).int().npu(),
        block_idx_last_scheduled_token=torch.tensor([2]).int().npu(),
        initial_state_idx=torch.tensor([0]).int().npu(),
        block_size=4,
    )
    want, lines = formulas.causal_conv1d([x], weight, [states[3]])
    assert_equal(y, want[0])
    assert torch.equal(card[4].cpu(), lines[0])
    assert torch.equal(card[3].cpu(), x[0:2])  # tokens 2 and 3 of the sequence end page 0
    assert torch.equal(card[1].cpu(), x[4:6])  # tokens 6 and 7 end page 1


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weight": torch.zeros(4, 4)}, ValueError, "expected weight"),
        ({"conv_states": torch.zeros(2, 1, 4)}, ValueError, "expected conv_states"),
        ({"conv_states": torch.zeros(2, 2, 4).half()}, TypeError, "one floating dtype"),
        ({"x": torch.zeros(6, 4)}, ValueError, "without query_start_loc"),
        ({"cache_indices": torch.tensor([0, 7]).int()}, IndexError, "got 7"),
        ({"cache_indices": torch.tensor([0]).int()}, ValueError, "cache_indices of 2"),
        ({"num_accepted_tokens": torch.tensor([1, 9]).int()}, ValueError, "got 9"),
        ({"conv_mode": "pangu"}, ValueError, "num_computed_tokens"),
        ({"conv_mode": "other"}, ValueError, "got 'other'"),
        ({"query_start_loc": torch.tensor([0, 9]).int()}, ValueError, "query_start_loc"),
    ],
)
def test_the_fused_convolution_names_what_is_wrong(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    arguments = {
        "x": torch.zeros(2, 3, 4),
        "weight": torch.zeros(3, 4),
        "conv_states": torch.zeros(2, 2, 4),
        **change,
    }
    with pytest.raises(error, match=f"npu_fused_causal_conv1d: .*{words}"):
        OPS.npu_fused_causal_conv1d(**on_npu(arguments))
