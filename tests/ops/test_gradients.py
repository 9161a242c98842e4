"""Gradients that torch's own operators call, and small operators, against torch's."""

import pytest
import torch

from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("reduction", "code"), [("none", 0), ("mean", 1), ("sum", 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_binary_cross_entropy_backward_is_its_gradient(
    dtype: torch.dtype, reduction: str, code: int, weighted: bool
) -> None:
    x, target = torch.randn(4, 3, dtype=dtype), torch.rand(4, 3).to(dtype)
    weight = torch.rand(4, 3).to(dtype) if weighted else None
    positive = torch.rand(3).to(dtype) if weighted else None
    leaf = x.double().requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        leaf,
        target.double(),
        None if weight is None else weight.double(),
        reduction=reduction,
        pos_weight=None if positive is None else positive.double(),
    )
    grad = torch.randn(loss.shape).to(dtype)
    loss.backward(grad.double())
    args = (grad, x, target, weight, positive, code)
    got = OPS.npu_binary_cross_entropy_with_logits_backward(*on_npu(args))
    assert leaf.grad is not None
    assert_equal(got, leaf.grad.to(dtype))
    assert_meta_agrees(OPS.npu_binary_cross_entropy_with_logits_backward, *args)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_renorm_backward_is_its_gradient(dim: int, p: float) -> None:
    x, grad = torch.randn(3, 4, 2).double(), torch.randn(3, 4, 2).double()
    leaf = x.clone().requires_grad_()
    torch.renorm(leaf, p, dim, 2.0).backward(grad)
    got = OPS.npu_renorm_backward(*on_npu((grad, x)), p, dim, 2.0)
    assert leaf.grad is not None
    assert_equal(got, leaf.grad)
    assert_meta_agrees(OPS.npu_renorm_backward, grad, x, p, dim, 2.0)


def test_one_fills_with_ones() -> None:
    x = torch.zeros(3, 2).half().npu()
    assert OPS.one_(x) is x
    assert_equal(x, torch.ones(3, 2).half())


@pytest.mark.parametrize("running", [False, True])
def test_gathered_sums_give_the_statistics_of_all_cards(running: bool) -> None:
    parts = [torch.randn(n, 4, 3) for n in (2, 5)]
    sums = torch.stack([p.sum((0, 2)) for p in parts])
    squares = torch.stack([p.pow(2).sum((0, 2)) for p in parts])
    counts = torch.tensor([float(p.numel() // 4) for p in parts])
    mean, var = torch.cat(parts).mean((0, 2)), torch.cat(parts).var((0, 2), unbiased=False)
    old = on_npu((torch.ones(4), torch.ones(4))) if running else (None, None)
    got = OPS.batch_norm_gather_stats_update(
        *on_npu((parts[0], sums, squares)), *old, 0.1, 1e-5, counts.npu()
    )
    assert_equal(got[0], mean)
    assert_equal(got[1], 1 / torch.sqrt(var + 1e-5))
    if old[0] is not None and old[1] is not None:
        assert_equal(old[0], 0.9 + 0.1 * mean)
        assert_equal(old[1], 0.9 + 0.1 * var)


ONES = torch.ones(3, 4)


@pytest.mark.parametrize(
    ("name", "args", "error", "words"),
    [
        (
            "npu_binary_cross_entropy_with_logits_backward",
            (ONES, ONES, ONES[:2], None, None, 0),
            ValueError,
            "expected target",
        ),
        (
            "npu_binary_cross_entropy_with_logits_backward",
            (ONES, ONES, ONES, None, None, 3),
            ValueError,
            "got 3",
        ),
        ("npu_renorm_backward", (ONES, ONES, 2.0, 5, 1.0), IndexError, "got 5"),
        ("npu_renorm_backward", (ONES[0], ONES, 2.0, 0, 1.0), ValueError, "expected grad"),
        (
            "batch_norm_gather_stats_update",
            (ONES, ONES, ONES, None, None, 0.1, 1e-5, ONES),
            ValueError,
            "expected counts",
        ),
    ],
)
def test_a_gradient_names_what_is_wrong(
    name: str, args: tuple[object, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"{name}: .*{words}"):
        getattr(OPS, name)(*on_npu(args))
