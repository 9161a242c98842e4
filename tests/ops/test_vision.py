"""Overlaps of boxes against the formulas, a pair at a time."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def overlap(p: list[float], g: list[float], mode: int, margin: float) -> float:
    """The common area of two boxes [left, top, right, bottom] as a share of all, or of `g`."""
    width = max(min(p[2], g[2]) - max(p[0], g[0]) + margin, 0)
    height = max(min(p[3], g[3]) - max(p[1], g[1]) + margin, 0)
    area_p, area_g = ((b[2] - b[0] + margin) * (b[3] - b[1] + margin) for b in (p, g))
    return width * height / (area_g if mode == 1 else area_p + area_g - width * height)


def complete_overlap(p: list[float], g: list[float], mode: int) -> tuple[float, float]:
    """CIoU of two boxes, and the difference of the angles of their diagonals.

    Zheng et al., Distance-IoU Loss (AAAI 2020).
    """
    iou = overlap(p, g, mode, 0)
    diagonal = sum((max(p[i + 2], g[i + 2]) - min(p[i], g[i])) ** 2 for i in (0, 1))
    apart = sum(((g[i] + g[i + 2] - p[i] - p[i + 2]) / 2) ** 2 for i in (0, 1))
    angle_g, angle_p = (math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (g, p))
    v = 4 / math.pi**2 * (angle_g - angle_p) ** 2
    return iou - apart / diagonal - v * v / (1 - iou + v), angle_g - angle_p


def boxes(count: int) -> torch.Tensor:
    """Returns boxes [count, 4] of at least one by one, with corners that float16 has."""
    corner = torch.randint(0, 16, (count, 2)).float()
    return torch.cat([corner, corner + torch.randint(1, 9, (count, 2))], 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("m", [0, 1, 4])
def test_every_pair_of_boxes_is_compared(m: int, mode: int, dtype: torch.dtype) -> None:
    p, g = boxes(m), boxes(3)
    found = torch_npu_sim.npu_iou(*on_npu((p.to(dtype), g.to(dtype))), mode)
    want = [[overlap(b, t, mode, 0.01) for b in p.tolist()] for t in g.tolist()]
    assert_equal(found, torch.tensor(want).view(3, m).to(dtype))
    assert_meta_agrees(OPS.npu_iou, p.to(dtype), g.to(dtype), mode)


def test_the_values_of_the_card_are_reproduced() -> None:
    p = torch.tensor([[0, 0, 10, 10], [10, 10, 20, 20], [32, 32, 38, 42]]).half()
    g = torch.tensor([[0, 0, 10, 20], [0, 0, 10, 10], [10, 10, 20, 20]]).half()
    want = torch.tensor([[0.5005, 0.0005, 0], [1, 0, 0], [0, 1, 0]])
    found = torch_npu_sim.npu_iou(*on_npu((p, g)), 1).cpu().float()
    torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("by_centre", [False, True])
@pytest.mark.parametrize("mode", [0, 1])
def test_boxes_are_compared_with_their_own_truth(mode: int, by_centre: bool) -> None:
    p, g = boxes(6), boxes(6)
    want = [complete_overlap(b, t, mode) for b, t in zip(p.tolist(), g.tolist(), strict=True)]
    args = (p, g)
    if by_centre:
        args = tuple(torch.cat([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], 1) for b in args)
    turned = tuple(b.t().contiguous() for b in args)
    value, angle = torch_npu_sim._npu_ciou(*on_npu(turned), by_centre, False, mode)
    assert_equal(value, torch.tensor([[w[0] for w in want]]))
    assert_equal(angle, torch.tensor([[w[1] for w in want]]))
    alone = torch_npu_sim.npu_ciou(*on_npu(turned), by_centre, False, mode)
    assert torch.equal(alone, value)
    mixed = torch_npu_sim.npu_ciou(turned[0].half().npu(), turned[1].npu(), by_centre, False, mode)
    assert_equal(mixed, value.cpu().half())
    assert_meta_agrees(OPS._npu_ciou, *turned, by_centre, False, mode)


def test_the_card_has_no_gradient_of_the_complete_overlap() -> None:
    p, g = (boxes(2).t().contiguous().npu() for _ in range(2))
    value = torch_npu_sim.npu_ciou(p.requires_grad_(), g, False, False)
    with pytest.raises(RuntimeError, match="npu_ciou_backward: .* lacks.*ERR01007"):
        value.sum().backward()


B = torch.ones(2, 4)


@pytest.mark.parametrize(
    ("name", "args", "error", "text"),
    [
        ("npu_iou", (B, B, 2), ValueError, "expected mode of 0"),
        ("npu_iou", (B.t(), B), ValueError, r"expected bboxes of \[m, 4\]"),
        ("npu_iou", (B.int(), B.int()), TypeError, "expected boxes of float32"),
        ("npu_iou", (B, B.half()), TypeError, "expected gtboxes of the dtype"),
        ("npu_ciou", (B.t(), B.t()), ValueError, "expected is_cross of False"),
        ("npu_ciou", (B, B, False, False), ValueError, r"input and gtboxes of \[4, n\]"),
        ("npu_ciou", (B.t().bfloat16(), B.t(), False, False), TypeError, "float32 or float16"),
        ("npu_ciou", (B.t(), B.t(), False, False, 3), ValueError, "expected mode of 0"),
    ],
)
def test_overlaps_refuse_what_does_not_fit(
    name: str, args: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"{name}: .*{text}"):
        getattr(OPS, name)(*on_npu(args))


def test_each_pair_costs_the_same() -> None:
    p, g = boxes(8).npu(), boxes(16).npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_iou(p, g)
    (kernel,) = trace.kernels
    assert kernel.bytes_written == 8 * 16 * 4
    assert kernel.bytes_read == (8 + 16) * 16


@settings(max_examples=200, deadline=None)
@given(m=st.integers(0, 4), n=st.integers(0, 4), wide=st.integers(3, 5), mode=st.integers(-1, 2))
def test_any_overlap_is_right_or_refused(m: int, n: int, wide: int, mode: int) -> None:
    p, g = boxes(m), boxes(n)
    p = torch.nn.functional.pad(p, (0, wide - 4))
    try:
        found = torch_npu_sim.npu_iou(*on_npu((p, g)), mode)
    except ValueError as error:
        assert "npu_iou: expected" in str(error)  # noqa: PT017
        return
    want = [[overlap(b, t, mode, 0.01) for b in p.tolist()] for t in g.tolist()]
    assert_equal(found, torch.tensor(want).view(n, m))


def sampled(
    x: torch.Tensor, offset: torch.Tensor, kernel: tuple[int, int], **places: int
) -> torch.Tensor:
    """Values of x [n, c, h, w] where the offsets [n, 3 g kh kw, oh, ow] say, [n, c, oh kh, ow kw].

    Offsets are x, y and a factor, each [g, kh, kw]; values between pixels are bilinear, outside 0.
    """
    n, c, height, width = x.shape
    kh, kw = kernel
    groups, oh, ow = offset.shape[1] // (3 * kh * kw), *offset.shape[2:]
    parts = offset.double().view(n, 3, groups, kh, kw, oh, ow)
    out = torch.zeros(n, c, oh, kh, ow, kw, dtype=torch.float64)
    for image, g, i, j, p, q in itertools.product(*map(range, (n, groups, kh, kw, oh, ow))):
        dx, dy, factor = parts[image, :, g, i, j, p, q].tolist()
        at_x = q * places["stride"] - places["left"] + j * places["dilation"] + dx
        at_y = p * places["stride"] - places["top"] + i * places["dilation"] + dy
        mine = slice(g * c // groups, (g + 1) * c // groups)
        for row, column in itertools.product(range(2), range(2)):
            y, z = math.floor(at_y) + row, math.floor(at_x) + column
            if 0 <= y < height and 0 <= z < width:
                share = (1 - abs(at_y - y)) * (1 - abs(at_x - z)) * factor
                out[image, mine, p, i, q, j] += share * x[image, mine, y, z].double()
    return out.reshape(n, c, oh * kh, ow * kw)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("groups", "shifted"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_convolution_reads_where_its_offsets_say(
    groups: int, shifted: int, dtype: torch.dtype
) -> None:
    x, weight = torch.randn(2, 4, 5, 6).to(dtype), torch.randn(6, 4 // groups, 3, 2).to(dtype)
    offset, bias = torch.randn(2, 18 * shifted, 2, 3).to(dtype), torch.randn(6).to(dtype)
    options = ([3, 2], [1, 1, 2, 2], [1, 0, 0, 1], [1, 1, 1, 1], groups, shifted)
    y, samples = torch_npu_sim.npu_deformable_conv2d(*on_npu((x, weight, offset, bias)), *options)
    want = sampled(x, offset, (3, 2), stride=2, left=0, top=1, dilation=1)
    torch.testing.assert_close(samples.cpu().double(), want, rtol=1e-2, atol=3e-2)
    product = torch.nn.functional.conv2d(
        want, weight.double(), bias.double(), stride=(3, 2), groups=groups
    )
    assert_close_to(y, product)
    assert_meta_agrees(OPS.npu_deformable_conv2d, x, weight, offset, bias, *options)


def assert_close_to(npu: torch.Tensor, reference: torch.Tensor) -> None:
    """Within the rounding of the results; places between pixels are in float32."""
    tolerance = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}[npu.dtype]
    found = npu.cpu().double()
    torch.testing.assert_close(found, reference, rtol=tolerance, atol=tolerance * 4)


def test_the_gradient_of_a_deformable_convolution_passes_gradcheck() -> None:
    torch.manual_seed(3)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    weight, bias = torch.randn(2, 2, 2, 2, dtype=torch.float64), torch.randn(2).double()
    # Away from the pixels, where a bilinear value has a kink.
    offset = torch.rand(1, 12, 3, 3, dtype=torch.float64) * 0.5 + 0.25
    inputs = on_npu(tuple(t.requires_grad_() for t in (x, weight, offset, bias)))

    def convolved(*tensors: torch.Tensor) -> torch.Tensor:
        ones = [1, 1, 1, 1]
        y, _ = OPS.npu_deformable_conv2d(*tensors, [2, 2], ones, [0, 0, 0, 0], ones)
        return torch.as_tensor(y)

    assert torch.autograd.gradcheck(convolved, inputs)


C = (torch.ones(1, 2, 3, 3), torch.ones(2, 2, 2, 2), torch.ones(1, 12, 2, 2), None)
ONES, NONE = [1, 1, 1, 1], [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((*C, [2, 2], [1, 1], NONE), ValueError, "expected stride of four"),
        ((*C, [2, 2], ONES, [0, 0]), ValueError, "expected padding of four"),
        ((*C, [2, 0], ONES, NONE), ValueError, "expected kernel_size of two"),
        ((*C, [2, 2], ONES, NONE, [1, 1, 1, 0]), ValueError, "expected dilation of four"),
        ((*C, [2, 2], ONES, NONE, ONES, 0), ValueError, "groups and deformable_groups of 1"),
        ((*C, [2, 2], ONES, NONE, ONES, 3), ValueError, "that divide the 2 channels"),
        ((*C, [2, 2], ONES, NONE, ONES, 2), ValueError, "expected weight of"),
        ((*C, [2, 2], ONES, ONES), ValueError, "expected offset of"),
        ((*C, [2, 2], ONES, NONE, ONES, 1, 1, False), ValueError, "expected modulated of True"),
        ((*C[:3], torch.ones(3), [2, 2], ONES, NONE), ValueError, "expected bias of"),
        ((C[0].half(), *C[1:], [2, 2], ONES, NONE), TypeError, "of one floating dtype"),
    ],
)
def test_a_deformable_convolution_refuses_what_does_not_fit(
    args: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_deformable_conv2d: .*" + text):
        OPS.npu_deformable_conv2d(*on_npu(args))


def test_the_gradient_of_a_deformable_convolution_takes_that_of_its_result() -> None:
    x, weight, offset, _ = C
    samples, shape = torch.ones(1, 2, 4, 4), ([2, 2], ONES, NONE)
    of_result = (x, torch.ones(1, 2, 2, 2), samples, weight, offset)
    assert_meta_agrees(OPS.npu_deformable_conv2dbk, *of_result, *shape)
    with pytest.raises(ValueError, match="npu_deformable_conv2dbk: expected grad_output of"):
        OPS.npu_deformable_conv2dbk(*on_npu((x, samples, samples, weight, offset)), *shape)


def test_samples_go_through_memory_to_the_convolution() -> None:
    args = on_npu(C)
    with torch_npu_sim.trace() as trace:
        OPS.npu_deformable_conv2d(*args, [2, 2], ONES, NONE)
    assert [kernel.name for kernel in trace.kernels] == ["vector", "convolution"]
    assert trace.kernels[0].bytes_written == 2 * 4 * 4 * 4
    assert trace.kernels[1].flops == 2 * 2 * 4 * 2 * 4
