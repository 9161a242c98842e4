"""Attention by way of pairs, against einsum, and its gradient against autograd's."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu

OPS = torch.ops.npu


def operands(n: int, m: int, k: int, d: int, dtype: torch.dtype) -> list[torch.Tensor]:
    shapes = [(2, 3, n, m, d), *[(2, 3, n, k, d)] * 2, *[(2, 3, k, m, d)] * 2]
    return [torch.randn(s).to(dtype) for s in shapes]


def scores_of(q: torch.Tensor, ij: torch.Tensor, jk: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bhikc,bhijc->bhikj", q, ij) + torch.einsum("bhikc,bhjkc->bhikj", q, jk)


def attend(parts: list[torch.Tensor], mask: torch.Tensor | None, scale: float) -> list[Any]:
    """Returns greatest, total and result, in the dtype of the operands."""
    q, key_ij, value_ij, key_jk, value_jk = parts
    scores = scores_of(q, key_ij, key_jk)
    if mask is not None:
        scores = scores - 4e9 * mask
    scores = scores * scale
    greatest = scores.amax(-1)
    raised = (scores - greatest[..., None]).exp()
    p = raised / raised.sum(-1, True)
    out = torch.einsum("bhikj,bhijc->bhikc", p, value_ij)
    return [greatest, raised.sum(-1), out + torch.einsum("bhikj,bhjkc->bhikc", p, value_jk)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(16, 8, 12, 32), (3, 1, 1, 8), (1, 5, 7, 16)])
@pytest.mark.parametrize("masked", [False, True])
def test_pairs_attend_by_way_of_all_others(
    masked: bool, sizes: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    parts = operands(*sizes, dtype)
    mask = torch.rand(2, 1, sizes[0], 1, sizes[2]) < 0.3 if masked else None
    if mask is not None:
        mask[..., 0] = False
    wide = [x.double().requires_grad_() for x in parts]
    want = attend(wide, mask, 0.2)
    ours = [x.npu().requires_grad_() for x in parts]
    kwargs = {"atten_mask": on_npu(mask), "scale_value": 0.2}
    greatest, total, out = torch_npu_sim.npu_fused_floyd_attention(*ours, **kwargs)
    tolerance = {"rtol": 2e-2, "atol": 2e-2}
    assert out.dtype == dtype and greatest.shape == (*out.shape[:-1], 8)
    for got, x in zip((greatest, total), want, strict=False):
        torch.testing.assert_close(got.cpu()[..., 3].double(), x.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out.detach().cpu().double(), want[2].detach(), **tolerance)
    grad = torch.randn(out.shape).to(dtype)
    out.backward(grad.npu())
    want[2].backward(grad.double())
    for x, y in zip(ours, wide, strict=True):
        assert x.grad is not None and y.grad is not None
        torch.testing.assert_close(x.grad.cpu().double(), y.grad, rtol=4e-2, atol=6e-2)
    assert_meta_agrees(OPS.npu_fused_floyd_attention, *parts)


def test_rows_are_taken_in_blocks_that_fit() -> None:
    parts = operands(40, 64, 512, 8, torch.float16)
    parts = [x[:1, :1] for x in parts]
    *_, out = torch_npu_sim.npu_fused_floyd_attention(*on_npu(parts))
    want = attend([x.double() for x in parts], None, 1.0)[2]
    torch.testing.assert_close(out.cpu().double(), want, rtol=1e-2, atol=1e-2)


def test_errors_name_the_argument() -> None:
    parts = operands(2, 3, 4, 8, torch.float16)

    def fails(match: str, args: list[Any], error: type[Exception] = ValueError, **kw: Any) -> None:
        with pytest.raises(error, match=f"npu_fused_floyd_attention: expected .*{match}"):
            torch_npu_sim.npu_fused_floyd_attention(*on_npu(args), **on_npu(kw))

    fails("query_ik of float16", [x.float() for x in parts], TypeError)
    fails("keys and values", [parts[0], parts[1].float(), *parts[2:]], TypeError)
    fails("query_ik of", [parts[0][0], *parts[1:]])
    fails("key_ij of", [parts[0], parts[1][..., :4], *parts[2:]])
    fails("value_ij of", [*parts[:2], parts[2][:, :, :1], *parts[3:]])
    fails("key_jk of", [*parts[:3], parts[3][:, :, :1], parts[4]])
    fails("value_jk of", [*parts[:4], parts[4][..., :2]])
    fails("atten_mask of", parts, atten_mask=torch.zeros(2, 1, 2, 1, 3).bool())
    fails("bool or uint8", parts, TypeError, atten_mask=torch.zeros(2, 1, 2, 1, 4))
    with pytest.raises(ValueError, match="npu_fused_floyd_attention_backward: expected grad_out"):
        rows = torch.zeros(2, 3, 2, 3, 8)
        OPS.npu_fused_floyd_attention_backward(
            *on_npu((parts[0][:1], *parts, parts[0], rows, rows))
        )


def test_its_work_is_an_attention_of_both_kinds_of_pairs() -> None:
    parts = on_npu(operands(4, 128, 256, 32, torch.float16))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_fused_floyd_attention(*parts)
    (kernel,) = [k for k in trace.kernels if k.op.startswith("npu::")]
    assert kernel.work.startswith("attention b8 h3/3 128x256 d64/64 fp16")
