"""Dropout: what is kept is scaled, the mask says which, and one seed gives one mask."""

import pytest
import torch

from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu


def bits(mask: torch.Tensor, count: int) -> torch.Tensor:
    return ((mask.cpu()[:, None] >> torch.arange(8)) & 1).flatten()[:count].bool()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (7,), (16, 8), (3, 50)])
def test_dropout_keeps_what_its_mask_says(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, dtype=dtype)
    y, mask = OPS._npu_dropout(x.npu(), 0.25)
    assert mask.dtype == torch.uint8 and mask.numel() == -(-x.numel() // 128) * 16
    kept = bits(mask, x.numel()).view(shape)
    assert_equal(y, (x.double() * kept / 0.75).to(dtype))
    assert_meta_agrees(OPS._npu_dropout, x, 0.25)


def test_one_seed_drops_the_same_as_torchs_dropout() -> None:
    x = torch.ones(1000).npu()
    torch.npu.manual_seed(5)
    y, _ = OPS._npu_dropout(x, 0.3)
    torch.npu.manual_seed(5)
    assert torch.equal(y, torch.nn.functional.dropout(x, 0.3))
    assert 600 < int((y > 0).sum()) < 800


def test_dropout_leaves_the_generator_of_the_cpu_alone() -> None:
    before = torch.get_rng_state()
    OPS._npu_dropout(torch.ones(10).npu(), 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_gradient_of_dropout_is_dropped_by_the_same_mask() -> None:
    x = torch.ones(300, device="npu", requires_grad=True)
    y, _ = OPS._npu_dropout(x, 0.5)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    x = torch.randn(20)
    y, _ = OPS._npu_dropout(x.npu(), p)
    assert_equal(y, x if p == 0 else torch.zeros(20))


def test_a_mask_of_a_seed_is_the_same_each_time() -> None:
    x = torch.ones(1).npu()
    one, two = (OPS._npu_dropout_gen_mask(x, [40, 50], 0.5, 3, 8) for _ in range(2))
    other = OPS._npu_dropout_gen_mask(x, [40, 50], 0.5, 4, 8)
    assert one.shape == (2048 // 8,) and torch.equal(one, two) and not torch.equal(one, other)
    assert 900 < int(bits(one, 2000).sum()) < 1100
    assert_meta_agrees(OPS._npu_dropout_gen_mask, torch.ones(1), [40, 50], 0.5, 3, 8)


def test_a_mask_without_a_seed_draws_one_from_the_device() -> None:
    masks = []
    for seed in (7, 7, 8):
        torch.npu.manual_seed(seed)
        masks.append(OPS.npu_dropout_gen_mask([40, 50], 0.25))
    assert masks[0].device.type == "npu" and masks[0].shape == (2048 // 8,)
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert 1400 < int(bits(masks[0], 2000).sum()) < 1600
    assert not torch.equal(OPS.npu_dropout_gen_mask([40, 50], 0.25, device="npu"), masks[2])
    assert OPS.npu_dropout_gen_mask([3], 0.0, device="meta").shape == (16,)


def test_a_mask_is_made_on_npu_only() -> None:
    with pytest.raises(ValueError, match="npu_dropout_gen_mask: expected device of npu, got cpu"):
        OPS.npu_dropout_gen_mask([3], 0.5, device="cpu")
    with pytest.raises(ValueError, match="npu_dropout_gen_mask: expected a probability p"):
        OPS.npu_dropout_gen_mask([3], 1.5)


def test_sim_exponential_draws_from_the_generator_it_gets() -> None:
    x = torch.zeros(10_000).npu()
    generator = torch.Generator("npu").manual_seed(1)
    assert OPS.npu_sim_exponential_(x, 2.0, generator=generator) is x
    again = torch.zeros(10_000).npu().exponential_(2.0, generator=generator.manual_seed(1))
    assert torch.equal(x, again)
    assert x.min() >= 0 and abs(float(x.mean()) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: OPS._npu_dropout(x, 1.5), ValueError, r"_npu_dropout: .*p in \[0, 1\]"),
        (lambda x: OPS._npu_dropout(x.int(), 0.5), TypeError, "_npu_dropout: .*floating input"),
        (
            lambda x: OPS.npu_dropout_backward(x, x.byte(), 0.5),
            ValueError,
            r"npu_dropout_backward: .*mask \[16\]",
        ),
        (lambda x: OPS.npu_sim_exponential_(x, 0.0), ValueError, "npu_sim_exponential_: .*lambd"),
    ],
)
def test_dropout_names_what_is_wrong(call, error: type[Exception], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call(on_npu(torch.ones(4)))
