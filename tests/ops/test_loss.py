"""Losses against their formulas, and against torch where torch has them."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import loss as formulas

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
OPS = torch.ops.npu


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_follows_its_formula(reduction: str, dtype: torch.dtype) -> None:
    x, target = torch.randn(6, 11, dtype=dtype), torch.randint(11, (6,))
    loss, log_prob, zloss, lse = torch_npu_sim.npu_cross_entropy_loss(
        *on_npu((x, target)), reduction=reduction
    )
    want, want_log_prob = formulas.cross_entropy_loss(x, target, reduction=reduction)
    assert_equal(loss, want.to(dtype))
    assert_equal(log_prob, want_log_prob.to(dtype))
    assert zloss.shape == lse.shape == (0,)
    assert_meta_agrees(OPS.npu_cross_entropy_loss, x, target, None, reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore_index", [-100, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_weighs_ignores_and_smooths(
    smoothing: float, ignore_index: int, reduction: str
) -> None:
    x, weight = torch.randn(9, 7), torch.rand(7) + 0.1
    target = torch.randint(7, (9,))
    target[0] = 3
    options = (reduction, ignore_index, smoothing)
    loss = torch_npu_sim.npu_cross_entropy_loss(*on_npu((x, target, weight)), *options)[0]
    assert_equal(loss, formulas.cross_entropy_loss(x, target, weight, *options)[0].float())
    torch_loss = torch.nn.functional.cross_entropy(
        x, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing
    )
    assert_equal(loss, torch_loss.reshape(loss.shape))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("ignore_index", "smoothing"), [(-100, 0.0), (2, 0.3)])
def test_the_gradient_of_cross_entropy_passes_gradcheck(
    ignore_index: int, smoothing: float, reduction: str
) -> None:
    x = torch.randn(5, 4, dtype=torch.float64, device="npu", requires_grad=True)
    target = torch.tensor([0, 2, 1, 3, 2]).npu()
    weight = torch.rand(4).npu()

    def call(x: torch.Tensor) -> torch.Tensor:
        return OPS.npu_cross_entropy_loss(x, target, weight, reduction, ignore_index, smoothing)[0]

    assert torch.autograd.gradcheck(call, (x,))


def test_the_gradient_of_cross_entropy_has_the_dtype_of_the_input() -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    target = torch.randint(8, (4,))
    card = on_npu(x.requires_grad_())
    OPS.npu_cross_entropy_loss(card, target.npu())[0].sum().backward()
    torch.nn.functional.cross_entropy(x.float(), target).backward()
    assert x.grad is not None
    assert_equal(card.grad, x.grad.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target": torch.tensor([0, 9, 1])}, IndexError, r"target in \[0, 5\), got values from 0"),
        ({"target": torch.tensor([0, -100, 1])}, IndexError, "ignores nothing"),
        ({"target": torch.tensor([0, 1])}, ValueError, "expected target"),
        ({"target": torch.tensor([0, 1, 1], dtype=torch.int32)}, TypeError, "target of int64"),
        ({"input": torch.ones(3, 5, dtype=torch.int64)}, TypeError, "floating input"),
        ({"weight": torch.ones(4)}, ValueError, "expected weight"),
        ({"reduction": "max"}, ValueError, "got 'max'"),
        ({"ignore_index": 5}, ValueError, "ignore_index below C = 5"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing"),
        ({"return_zloss": True}, NotImplementedError, "z-loss"),
    ],
)
def test_cross_entropy_names_what_is_wrong(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    arguments = {"input": torch.randn(3, 5), "target": torch.tensor([0, 1, 2]), **change}
    with pytest.raises(error, match=f"npu_cross_entropy_loss: .*{words}"):
        torch_npu_sim.npu_cross_entropy_loss(**on_npu(arguments))


def test_cross_entropy_reads_logits_once_and_writes_log_probabilities() -> None:
    x, target = on_npu((torch.randn(64, 512), torch.randint(512, (64,))))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_cross_entropy_loss(x, target)
    (kernel,) = trace.kernels
    assert kernel.op == "npu::npu_cross_entropy_loss"
    assert kernel.bytes_read == 64 * 512 * 4 + 64 * 8
    assert kernel.bytes_written == 64 * 512 * 4 + 4


MAX_SUM = [
    "logits_max",
    "sum_exp_logits",
    "predicted_logits",
    "target_mask",
    "masked_target",
    "vocab_parallel_logits",
]


@pytest.mark.parametrize("rows", [1, 8, 11])
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_online_max_sum_follows_its_formula(
    dtype: torch.dtype, index: torch.dtype, rows: int
) -> None:
    x, weight = torch.randn(rows, 16, dtype=dtype), torch.randn(24, 16, dtype=dtype)
    target = torch.randint(60, (rows,), dtype=index)
    outs = OPS.npu_fused_linear_online_max_sum(*on_npu((x, weight, target)), 20, 43, True)
    want = formulas.fused_linear_online_max_sum(x, weight, target, 20, 43)
    for name, out in zip(MAX_SUM, outs, strict=True):
        dtypes = {
            "target_mask": torch.uint8,
            "masked_target": index,
            "vocab_parallel_logits": dtype,
        }
        assert_equal(out, want[name].to(dtypes.get(name, torch.float32)))
    assert_meta_agrees(OPS.npu_fused_linear_online_max_sum, x, weight, target, 20, 43, True)


def test_online_max_sum_returns_no_logits_unless_asked() -> None:
    x, weight = torch.randn(4, 8).half(), torch.randn(6, 8).half()
    outs = OPS.npu_fused_linear_online_max_sum(
        *on_npu((x, weight, torch.tensor([0, 1, 2, 3]))), 0, 5
    )
    assert outs[5] is None


def test_a_split_vocabulary_gives_the_loss_and_gradients_of_a_whole_one() -> None:
    torch.manual_seed(3)
    x, weight = torch.randn(10, 16), torch.randn(24, 16)
    target = torch.randint(24, (10,))
    x.requires_grad_()
    weight.requires_grad_()
    want = torch.nn.functional.cross_entropy(x @ weight.T, target, reduction="none")
    gradient = torch.rand(10)
    (want * gradient).sum().backward()

    cards = []
    with torch.no_grad():
        half = x.half(), weight.half()
        for first in (0, 12):
            part = (half[0], half[1][first : first + 12].contiguous(), target)
            outs = OPS.npu_fused_linear_online_max_sum(*on_npu(part), first, first + 11, True)
            cards.append((part, outs))
        most = torch.maximum(cards[0][1][0], cards[1][1][0])
        total = sum(outs[1] * torch.exp(outs[0] - most) for _, outs in cards)
        # a class that lies elsewhere counts 0, one here its distance to the maximum of its card
        present = [(target >= first) & (target < first + 12) for first in (0, 12)]
        predicted = sum(
            torch.where(here.npu(), outs[2] + outs[0] - most, 0)
            for here, (_, outs) in zip(present, cards, strict=True)
        )
        grads = []
        for (own, w, _), outs in cards:
            loss, softmax = OPS.npu_fused_cross_entropy_loss_with_max_sum(
                most, total, predicted, vocab_parallel_logits=outs[5]
            )
            torch.testing.assert_close(loss.cpu(), want.detach(), rtol=2e-2, atol=2e-2)
            for kept in ({"softmax": softmax}, {"logits_max": most, "sum_exp_logits": total}):
                grads.append(
                    OPS.npu_fused_linear_cross_entropy_loss_with_max_sum_backward(
                        gradient.npu(), *on_npu((own, w)), outs[3], outs[4], **kept
                    )
                )
    assert x.grad is not None and weight.grad is not None
    for a, b in ((grads[0], grads[2]), (grads[1], grads[3])):
        torch.testing.assert_close((a[0] + b[0]).cpu().float(), x.grad, rtol=3e-2, atol=3e-2)
        both = torch.cat([a[1], b[1]]).cpu().float()
        torch.testing.assert_close(both, weight.grad, rtol=3e-2, atol=3e-2)


def test_the_loss_with_max_sum_has_no_softmax_without_logits() -> None:
    rows = torch.rand(5) + 1
    loss, softmax = OPS.npu_fused_cross_entropy_loss_with_max_sum(*on_npu((rows, rows, rows)))
    assert softmax is None
    assert_equal(loss, rows.log() - rows)


@pytest.mark.parametrize(
    ("first", "last", "change", "error", "words"),
    [
        (4, 3, {}, ValueError, "vocab_start_index"),
        (0, 6, {}, ValueError, "vocab_end_index"),
        (0, 5, {"target": torch.zeros(3, dtype=torch.int32)}, ValueError, "expected target"),
        (0, 5, {"target": torch.zeros(4)}, TypeError, "target of int32 or int64"),
        (0, 5, {"weight": torch.zeros(6, 7).half()}, ValueError, "weight"),
        (0, 5, {"weight": torch.zeros(6, 8)}, TypeError, "one floating dtype"),
    ],
)
def test_online_max_sum_names_what_is_wrong(
    first: int, last: int, change: dict[str, torch.Tensor], error: type[Exception], words: str
) -> None:
    arguments = {
        "input": torch.zeros(4, 8).half(),
        "weight": torch.zeros(6, 8).half(),
        "target": torch.zeros(4, dtype=torch.int32),
        **change,
    }
    with pytest.raises(error, match=f"npu_fused_linear_online_max_sum: .*{words}"):
        OPS.npu_fused_linear_online_max_sum(
            **on_npu(arguments), vocab_start_index=first, vocab_end_index=last
        )
