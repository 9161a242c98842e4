"""The fused optimizers against torch's, or against their formulas where torch has none."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim import optim
from torch_npu_sim.testing.comparison import assert_equal

SHAPES = [(3, 4), (5,), (2, 3, 2)]
PAIRS = [
    (optim.NpuFusedAdamW, torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.NpuFusedAdamW, torch.optim.AdamW, {"lr": 0.05, "amsgrad": True}),
    (optim.NpuFusedAdam, torch.optim.Adam, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.NpuFusedAdam, torch.optim.Adam, {"lr": 0.05, "amsgrad": True, "betas": (0.5, 0.6)}),
    (optim.NpuFusedSGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.NpuFusedSGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    (optim.NpuFusedSGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (optim.NpuFusedAdadelta, torch.optim.Adadelta, {"lr": 0.5, "weight_decay": 0.1}),
    (optim.NpuFusedRMSprop, torch.optim.RMSprop, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.NpuFusedRMSprop, torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
]
ALL = [
    (optim.NpuFusedAdamW, {}),
    (optim.NpuFusedAdam, {}),
    (optim.NpuFusedSGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.NpuFusedAdadelta, {}),
    (optim.NpuFusedRMSprop, {}),
    (optim.NpuFusedRMSpropTF, {"momentum": 0.5}),
    (optim.NpuFusedLamb, {}),
    (optim.NpuFusedAdamP, {}),
    (optim.NpuFusedBertAdam, {"lr": 0.1}),
]


def parameters(device: str, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    torch.manual_seed(7)
    return [torch.nn.Parameter(torch.randn(shape).to(device, dtype)) for shape in SHAPES]


def run(
    make: Callable[[Any], Any], device: str, steps: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[list[torch.nn.Parameter], Any]:
    params = parameters(device, dtype)
    optimizer = make(params)
    torch.manual_seed(11)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum(
            (p * torch.randn(p.shape).to(device, dtype)).sum() + (p**2).sum() for p in params
        )
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize(("fused", "plain", "options"), PAIRS)
def test_a_fused_optimizer_equals_torchs(fused: Any, plain: Any, options: dict[str, Any]) -> None:
    got, optimizer = run(lambda p: fused(p, **options), "npu")
    want, reference = run(lambda p: plain(p, **options), "cpu")
    for a, b in zip(got, want, strict=True):
        assert_equal(a, b.detach())
        for name, state in optimizer.state[a].items():
            if name != "step":
                assert_equal(state, reference.state[b][name])


@pytest.mark.parametrize(("fused", "options"), ALL)
def test_a_restored_optimizer_goes_on_as_the_other(fused: Any, options: dict[str, Any]) -> None:
    straight, _ = run(lambda p: fused(p, **options), "npu", steps=4)
    params = parameters("npu")
    torch.manual_seed(11)
    saved = None
    for _ in range(2):
        optimizer = fused(params, **options)
        if saved is not None:
            optimizer.load_state_dict(saved)
        for _ in range(2):
            optimizer.zero_grad()
            loss = sum((p * torch.randn(p.shape).npu()).sum() + (p**2).sum() for p in params)
            loss.backward()  # type: ignore[union-attr]
            optimizer.step()
        saved = copy.deepcopy(optimizer.state_dict())
    for a, b in zip(params, straight, strict=True):
        assert_equal(a, b.detach().cpu())


@pytest.mark.parametrize(("fused", "options"), ALL)
def test_float16_parameters_move_next_to_float32_ones(fused: Any, options: dict[str, Any]) -> None:
    wide, narrow = parameters("npu"), parameters("npu", torch.float16)
    before = [p.detach().clone() for p in wide + narrow]
    optimizer = fused([{"params": wide}, {"params": narrow}], **options)
    sum((p.float() ** 2).sum() for p in wide + narrow).backward()  # type: ignore[union-attr]
    optimizer.step()
    assert [p.dtype for p in optimizer.get_combined_params()] == [torch.float32, torch.float16]
    for p, old in zip(wide + narrow, before, strict=True):
        assert p.isfinite().all() and not torch.equal(p, old)


def test_lamb_scales_a_step_by_the_norms() -> None:
    torch.manual_seed(0)
    p = torch.nn.Parameter(torch.randn(6).npu())
    start, grad = p.detach().cpu().clone(), torch.randn(6)
    p.grad = grad.npu()
    optim.NpuFusedLamb([p], lr=0.1, betas=(0.9, 0.99), weight_decay=0.2).step()
    move = 0.1 * grad / ((0.01 * grad**2).sqrt() + 1e-6) + 0.2 * start
    trust = start.norm().clamp(max=10) / move.norm()
    assert_equal(p, start - 0.1 * trust * move)


def test_lamb_divides_gradients_by_a_norm_above_one() -> None:
    one, two = (torch.nn.Parameter(torch.ones(4).npu()) for _ in range(2))
    one.grad, two.grad = torch.full((4,), 6.0).npu(), torch.full((4,), 0.5).npu()
    optim.NpuFusedLamb([one], use_global_grad_norm=True).step()
    optim.NpuFusedLamb([two]).step()
    assert_equal(one, two.detach().cpu())


def test_rmsprop_tf_has_epsilon_in_the_root_and_starts_at_one() -> None:
    p = torch.nn.Parameter(torch.ones(3).npu())
    p.grad = torch.tensor([1.0, 2.0, 3.0]).npu()
    optim.NpuFusedRMSpropTF([p], lr=0.1, alpha=0.9, eps=0.5, momentum=0.9).step()
    grad = torch.tensor([1.0, 2.0, 3.0])
    assert_equal(p, 1 - 0.1 * grad / torch.sqrt(1 + 0.1 * (grad**2 - 1) + 0.5))


def test_adamp_takes_the_weights_direction_out_of_its_step() -> None:
    p = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 2.0]]).npu())
    p.grad = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).npu()
    optim.NpuFusedAdamP(
        [p], lr=0.1
    ).step()  # gradient and weight are orthogonal, channel by channel
    assert_equal(p, torch.tensor([[1.0, -0.1], [-0.1, 2.0]]))


def test_bert_adam_clips_warms_up_and_does_not_correct() -> None:
    p = torch.nn.Parameter(torch.ones(2).npu())
    optimizer = optim.NpuFusedBertAdam([p], lr=0.1, warmup=0.5, t_total=4, weight_decay=0.0)
    p.grad = torch.tensor([3.0, 4.0]).npu()
    optimizer.step()
    assert_equal(p, torch.ones(2))  # no step is done yet: the rate is 0
    assert_equal(p.grad, torch.tensor([0.6, 0.8]))
    optimizer.step()
    grad = torch.tensor([0.6, 0.8])
    mean, square = 0.19 * grad, 0.001999 * grad**2
    assert_equal(p, 1 - 0.05 * mean / (square.sqrt() + 1e-6))


def test_gradients_are_clipped_by_their_common_norm() -> None:
    params = parameters("npu")
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer = optim.NpuFusedAdamW(params)
    norm = optimizer.clip_grad_norm_fused_(2.0)
    count = sum(p.numel() for p in params)
    assert float(norm) == pytest.approx(count**0.5)
    for p in params:
        torch.testing.assert_close(p.grad, torch.full_like(p, 2 / count**0.5))


def test_all_parameters_of_a_step_take_as_many_kernels_as_one() -> None:
    counts = []
    for shapes in ([(4,)], [(4,)] * 20):
        params = [torch.nn.Parameter(torch.ones(shape).npu()) for shape in shapes]
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer = optim.NpuFusedAdamW(params)
        optimizer.step()
        with torch_npu_sim.trace() as trace:
            optimizer.step()
        counts.append(len(trace.kernels))
    assert counts[0] == counts[1]


def test_a_gradient_from_elsewhere_is_taken_over() -> None:
    p = torch.nn.Parameter(torch.zeros(3).npu())
    p.grad = torch.ones(3).npu()
    optimizer = optim.NpuFusedSGD([p], lr=1.0)
    optimizer.step()
    p.grad = torch.full((3,), 2.0).npu()
    optimizer.step()
    assert_equal(p, torch.full((3,), -3.0))
    p.grad = None
    with pytest.raises(RuntimeError, match="NpuFusedSGD: expected the gradient .*zero_grad"):
        optimizer.step()


def test_a_closure_gives_the_loss() -> None:
    p = torch.nn.Parameter(torch.ones(2).npu())
    optimizer = optim.NpuFusedSGD([p], lr=0.5)

    def closure() -> torch.Tensor:
        loss = (p**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert float(optimizer.step(closure).detach()) == 2.0
    assert_equal(p, torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: optim.NpuFusedAdamW(p, lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
        (lambda p: optim.NpuFusedAdam(p, betas=(0.9, 1.0)), ValueError, "index 1: 1.0"),
        (lambda p: optim.NpuFusedSGD(p, lr=0.1, nesterov=True), ValueError, "Nesterov"),
        (lambda p: optim.NpuFusedBertAdam(p, lr=0.1, schedule="x"), ValueError, "schedule"),
        (lambda p: optim.NpuFusedRMSprop(p, alpha=-1.0), ValueError, "alpha"),
        (lambda p: optim.NpuFusedAdamW(p).zero_grad(set_to_none=True), ValueError, "set_to_none"),
    ],
)
def test_an_optimizer_names_what_is_wrong(
    make: Callable[[Any], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make(parameters("npu"))


@pytest.mark.parametrize(
    ("device", "dtype", "error", "words"),
    [
        (
            "npu",
            torch.bfloat16,
            TypeError,
            "either float32 or float16, but received torch.bfloat16",
        ),
        ("cpu", torch.float32, RuntimeError, "expected tensors on npu"),
    ],
)
def test_a_parameter_that_cannot_be_combined_is_refused(
    device: str, dtype: torch.dtype, error: type[Exception], words: str
) -> None:
    p = torch.nn.Parameter(torch.ones(2, device=device, dtype=dtype))
    p.grad = torch.ones_like(p)
    with pytest.raises(error, match=words):
        optim.NpuFusedAdamW([p]).step()
