"""Fusion opportunities: which sequences are seen, which are not, and what each would save."""

import pytest
import torch
import torch.nn.functional as F

import torch_npu_sim
from torch_npu_sim.report.fusions import Opportunity, opportunities

TOKENS, HIDDEN = 32, 64


def tensor(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="npu", dtype=dtype)


def traced(function):
    """Traces a call on a card whose L2 is cold."""
    torch.npu.synchronize()
    torch_npu_sim.flush_l2()
    with torch_npu_sim.trace() as trace:
        function()
        torch.npu.synchronize()
    return trace.kernels


def found(function) -> list[Opportunity]:
    return opportunities(traced(function))


def norm_in_pieces(x, weight):
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return weight * wide.to(x.dtype)


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


def attention_in_pieces(q, k, v, mask):
    scores = q @ k.transpose(2, 3) * 0.125 + mask
    return F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


def sinkhorn(x, iterations):
    for _ in range(iterations):
        x = x / (x.sum(-1, keepdim=True) + 1e-6)
        x = x / (x.sum(-2, keepdim=True) + 1e-6)
    return x


def make(name):
    """Returns the sequence in pieces and the fused operator on the same operands."""
    ops = torch.ops.npu
    x, other, weight = tensor(TOKENS, HIDDEN), tensor(TOKENS, HIDDEN), tensor(HIDDEN)
    if name == "add + RMS norm":
        fused = (lambda: ops.npu_add_rms_norm(x, other, weight),)
        return (lambda: norm_in_pieces(x + other, weight), *fused)
    if name == "RMS norm":
        return lambda: norm_in_pieces(x, weight), lambda: ops.npu_rms_norm(x, weight)
    if name == "SwiGLU":
        both = tensor(TOKENS, 2 * HIDDEN)
        halves = both.chunk(2, -1)
        return lambda: F.silu(halves[0]) * halves[1], lambda: ops.npu_swiglu(both)
    if name == "rotary embedding":
        q, cos, sin = tensor(1, 4, TOKENS, HIDDEN), *(tensor(1, 1, TOKENS, HIDDEN),) * 2
        sin = sin.clone()
        return lambda: rotated(q, cos, sin), lambda: ops.npu_rotary_mul(q, cos, sin)
    if name == "bias + GELU":
        w, bias = tensor(HIDDEN, HIDDEN), tensor(HIDDEN)
        return (
            lambda: F.gelu(x @ w + bias),
            lambda: ops.npu_fused_matmul(x, w, bias=bias, fused_op_type="gelu_erf"),
        )
    matrices = tensor(TOKENS, 4, 4, dtype=torch.float32).exp()
    return lambda: sinkhorn(matrices, 5), lambda: ops.npu_mhc_sinkhorn(matrices, num_iters=5)


NAMES = [
    *("add + RMS norm", "RMS norm", "SwiGLU", "rotary embedding", "bias + GELU"),
    "hyper-connections (Sinkhorn)",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_seen_once_with_the_time_that_its_fused_operator_takes(name):
    pieces, fused = make(name)
    kernels = traced(pieces)
    (opportunity,) = opportunities(kernels)
    assert (opportunity.fusion, opportunity.places) == (name, 1)
    assert opportunity.refusal == ""
    assert opportunity.kernels == len(kernels)
    assert opportunity.now_us == pytest.approx(sum(kernel.duration_us for kernel in kernels))
    took = traced(fused)
    assert opportunity.fused_kernels == len(took)
    assert opportunity.fused_us == pytest.approx(sum(k.alone_us for k in took), rel=0.02)
    assert opportunity.saved_us == pytest.approx(opportunity.now_us - opportunity.fused_us)


@pytest.mark.parametrize("name", NAMES)
def test_a_fused_operator_is_no_opportunity(name):
    _, fused = make(name)
    assert found(fused) == []


def test_attention_in_pieces_is_seen():
    q, k, v = (tensor(1, 4, TOKENS, HIDDEN) for _ in range(3))
    mask = tensor(TOKENS, TOKENS)
    (opportunity,) = found(lambda: attention_in_pieces(q, k, v, mask))
    assert opportunity.fusion == "attention"
    assert opportunity.operator == "npu_fusion_attention"
    assert 0 < opportunity.fused_us < opportunity.now_us


def test_a_rotation_is_seen_in_either_order_of_its_terms():
    q, cos, sin = (tensor(1, 2, TOKENS, HIDDEN) for _ in range(3))

    def other_order():
        first = q * cos
        return first + torch.cat((-q[..., 32:], q[..., :32]), dim=-1) * sin

    (opportunity,) = found(other_order)
    assert (opportunity.fusion, opportunity.kernels) == ("rotary embedding", 5)


def test_torch_s_own_fused_attention_is_no_opportunity():
    q, k, v = (tensor(1, 4, TOKENS, HIDDEN) for _ in range(3))
    assert found(lambda: F.scaled_dot_product_attention(q, k, v)) == []


def test_a_product_between_silu_and_gate_does_not_hide_swiglu():
    x, gate, up = tensor(TOKENS, HIDDEN), tensor(HIDDEN, HIDDEN), tensor(HIDDEN, HIDDEN)
    (opportunity,) = found(lambda: F.silu(x @ gate) * (x @ up))
    assert (opportunity.fusion, opportunity.kernels) == ("SwiGLU", 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.silu(x) + x,
        lambda x, w: F.silu(x)[:, :8] * x[:, :8],
        lambda x, w: F.gelu(x @ w),
        lambda x, w: F.gelu(x),
        lambda x, w: F.softmax(x, -1) @ w,
        lambda x, w: (x + x).mean(-1),
        lambda x, w: torch.ops.npu.npu_rms_norm(x + w[0], w[0]),
        lambda x, w: x / x.sum(-1, keepdim=True),
    ],
)
def test_what_looks_alike_is_no_opportunity(function):
    x, w = tensor(TOKENS, HIDDEN), tensor(HIDDEN, HIDDEN)
    assert found(lambda: function(x, w)) == []


def test_equal_places_are_counted_together_and_save_launches():
    x, other, weight = tensor(TOKENS, HIDDEN), tensor(TOKENS, HIDDEN), tensor(HIDDEN)

    def layers():
        for _ in range(3):
            torch.ops.npu.npu_rms_norm(x + other, weight)

    (opportunity,) = found(layers)
    assert (opportunity.places, opportunity.kernels, opportunity.fused_kernels) == (3, 6, 3)
    host_us = torch_npu_sim.get_chip()["host_eager_op_ns"] / 1e3
    assert opportunity.saved_host_us == pytest.approx(3 * host_us)


def test_kernels_of_two_streams_make_no_sequence():
    x, stream = tensor(TOKENS, HIDDEN), torch.npu.Stream()

    def apart():
        gate = F.silu(x)
        with torch.npu.stream(stream):
            return gate * x

    assert found(apart) == []


def test_a_refused_fused_operator_saves_nothing_and_says_why():
    refused = Opportunity("SwiGLU", "npu_swiglu", "", kernels=2, now_us=9.0, refusal="no kernel")
    assert (refused.saved_us, refused.saved_host_us) == (0.0, 0.0)
