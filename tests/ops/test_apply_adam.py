"""npu_apply_adam and npu_apply_adam_w against torch's optimizers."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, on_npu

OPS = torch.ops.npu
B1, B2, LR, EPS, DECAY = 0.9, 0.99, 0.05, 1e-6, 0.1


@pytest.mark.parametrize("maximize", [False, True])
def test_adam_w_equals_torchs(maximize: bool) -> None:
    parameter = torch.nn.Parameter(torch.randn(7, 3))
    var = parameter.detach().clone().npu()
    m, v = torch.zeros_like(var), torch.zeros_like(var)
    torchs = torch.optim.AdamW(
        [parameter], lr=LR, betas=(B1, B2), eps=EPS, weight_decay=DECAY, maximize=maximize
    )
    for step in range(3):
        parameter.grad = torch.randn(7, 3)
        torchs.step()
        outs = OPS.npu_apply_adam_w(
            B1**step, B2**step, LR, DECAY, B1, B2, EPS, parameter.grad.npu(), None, False, maximize,
            out=[var, m, v],
        )  # fmt: skip
        assert all(out is state for out, state in zip(outs, (var, m, v), strict=True))
    assert_equal(var, parameter.detach())
    assert_equal(m, torchs.state[parameter]["exp_avg"])
    assert_equal(v, torchs.state[parameter]["exp_avg_sq"])


def test_adam_w_with_amsgrad_takes_the_larger_second_moment() -> None:
    var, grad, bound = torch.randn(5), torch.randn(5), torch.rand(5)
    m, v = torch.randn(5), torch.rand(5)
    card = on_npu((var, m, v))
    OPS.npu_apply_adam_w(
        B1, B2, LR, DECAY, B1, B2, EPS, grad.npu(), bound.npu(), True, False, out=list(card)
    )
    m = B1 * m + (1 - B1) * grad
    v = B2 * v + (1 - B2) * grad**2
    root = torch.sqrt(torch.maximum(bound, v) / (1 - B2**2)) + EPS
    assert_equal(card[0], var * (1 - LR * DECAY) - LR * m / (1 - B1**2) / root)
    assert_equal(card[1], m)
    assert_equal(card[2], v)


@pytest.mark.parametrize("nesterov", [False, True])
def test_adam_takes_the_powers_of_this_step(nesterov: bool) -> None:
    var, grad, m, v = torch.randn(5), torch.randn(5), torch.randn(5), torch.rand(5)
    card = on_npu((var, m, v))
    OPS.npu_apply_adam(B1**2, B2**2, LR, B1, B2, EPS, grad.npu(), False, nesterov, out=list(card))
    m = B1 * m + (1 - B1) * grad
    v = B2 * v + (1 - B2) * grad**2
    direction = B1 * m + (1 - B1) * grad if nesterov else m
    rate = LR * (1 - B2**2) ** 0.5 / (1 - B1**2)
    assert_equal(card[0], var - rate * direction / (v.sqrt() + EPS))
    assert_equal(card[1], m)
    assert_equal(card[2], v)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_states_are_computed_in_fp32_and_rounded_once(dtype: torch.dtype) -> None:
    var, m, v = torch.randn(64, dtype=dtype), torch.randn(64, dtype=dtype), torch.rand(64).to(dtype)
    grad = torch.randn(64, dtype=dtype)
    narrow, wide = on_npu((var, m, v)), on_npu((var.float(), m.float(), v.float()))
    step = (B1, B2, LR, DECAY, B1, B2, EPS)
    OPS.npu_apply_adam_w(*step, grad.npu(), None, None, None, out=list(narrow))
    OPS.npu_apply_adam_w(*step, grad.float().npu(), None, None, None, out=list(wide))
    for a, b in zip(narrow, wide, strict=True):
        assert torch.equal(a, b.to(dtype))


def test_the_forms_without_out_raise_as_on_the_card() -> None:
    grad = torch.ones(3).npu()
    with pytest.raises(RuntimeError, match="npu_apply_adam_w is not implemented for Tensor"):
        OPS.npu_apply_adam_w(0.9, 0.9, LR, DECAY, B1, B2, EPS, grad, None, False, False)
    with pytest.raises(RuntimeError, match="npu_apply_adam is not implemented for Tensor"):
        OPS.npu_apply_adam(0.9, 0.9, LR, B1, B2, EPS, grad, False, False)


@pytest.mark.parametrize(
    ("shapes", "amsgrad", "words"),
    [
        ([(3,), (3,)], False, "out of var, m and v"),
        ([(3,), (3,), (4,)], False, "shape of grad"),
        ([(3,), (3,), (3,)], True, "max_grad_norm"),
    ],
)
def test_adam_w_names_what_is_wrong(
    shapes: list[tuple[int, ...]], amsgrad: bool, words: str
) -> None:
    out = [torch.ones(shape).npu() for shape in shapes]
    with pytest.raises(ValueError, match=f"npu_apply_adam_w: .*{words}"):
        OPS.npu_apply_adam_w(
            B1, B2, LR, DECAY, B1, B2, EPS, torch.ones(3).npu(), None, amsgrad, False, out=out
        )


def test_adam_w_reads_four_tensors_and_writes_three() -> None:
    states, grad = [torch.zeros(1000).npu() for _ in range(3)], torch.ones(1000).npu()
    with torch_npu_sim.trace() as trace:
        OPS.npu_apply_adam_w(B1, B2, LR, DECAY, B1, B2, EPS, grad, None, False, False, out=states)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (16_000, 12_000)
