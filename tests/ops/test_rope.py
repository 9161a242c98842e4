"""Rotary embeddings against complex multiplication and explicit halves."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def rotate(x: torch.Tensor, mode: str) -> torch.Tensor:
    """Rotates by 90 degrees in the planes that `mode` pairs."""
    if mode == "interleave":
        turned = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous()) * 1j
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    width = x.shape[-1] // (2 if mode == "half" else 4)
    index = torch.arange(x.shape[-1])
    first = (index // width) % 2 == 0
    return torch.where(first, -x[..., (index + width) % x.shape[-1]], x[..., index - width])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", ["half", "interleave", "quarter"])
@pytest.mark.parametrize("angles", [(1, 5, 1, 8), (2, 5, 3, 8), (1, 1, 1, 8)])
def test_rotary_mul_turns_by_the_angles(
    angles: tuple[int, ...], mode: str, dtype: torch.dtype
) -> None:
    x = torch.randn(2, 5, 3, 8, dtype=dtype)
    cos, sin = torch.randn(angles, dtype=dtype), torch.randn(angles, dtype=dtype)
    y = torch_npu_sim.npu_rotary_mul(*on_npu((x, cos, sin)), rotary_mode=mode)
    wide = x.double() * cos.double() + rotate(x, mode).double() * sin.double()
    assert_equal(y, wide.to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_rotary_mul, x, cos, sin, mode)


def test_rotary_mul_takes_the_rotation_as_a_matrix() -> None:
    x, cos, sin = (torch.randn(2, 4, 1, 8) for _ in range(3))
    matrix = torch.zeros(8, 8)
    matrix[:4, 4:], matrix[4:, :4] = torch.eye(4), -torch.eye(4)
    by_matrix = torch_npu_sim.npu_rotary_mul(*on_npu((x, cos, sin, "half", matrix)))
    by_mode = torch_npu_sim.npu_rotary_mul(*on_npu((x, cos, sin)))
    torch.testing.assert_close(by_matrix, by_mode)


@pytest.mark.parametrize("mode", ["half", "interleave", "quarter"])
def test_the_gradient_of_rotary_mul_passes_gradcheck(mode: str) -> None:
    shapes = (2, 3, 2, 4), (1, 3, 1, 4), (1, 3, 1, 4)
    inputs = [torch.randn(s, dtype=torch.float64, device="npu", requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(
        lambda *x: torch.ops.npu.npu_rotary_mul(*x, rotary_mode=mode), inputs
    )


def test_rotary_mul_refuses_a_mode_that_does_not_exist() -> None:
    x = torch.ones(1, 1, 1, 4, device="npu")
    with pytest.raises(ValueError, match="npu_rotary_mul: expected rotary_mode .* got 'third'"):
        torch_npu_sim.npu_rotary_mul(x, x, x, rotary_mode="third")


def test_rotary_mul_refuses_angles_that_do_not_broadcast_to_its_input() -> None:
    x, r = torch.ones(1, 2, 1, 4, device="npu"), torch.ones(3, 2, 1, 4, device="npu")
    with pytest.raises(ValueError, match=r"expected r1 and r2 that broadcast to input \[1, 2"):
        torch_npu_sim.npu_rotary_mul(x, r, r)


def test_interleave_rope_turns_pairs_and_gives_halves() -> None:
    x = torch.randn(2, 3, 5, 64, dtype=torch.bfloat16)
    cos, sin = (torch.randn(2, 1, 5, 64, dtype=torch.bfloat16) for _ in range(2))
    y = torch_npu_sim.npu_interleave_rope(*on_npu((x, cos, sin)))
    halves = torch.cat((x[..., ::2], x[..., 1::2]), -1)
    want = halves.double() * cos.double() + rotate(halves, "half").double() * sin.double()
    assert_equal(y, want.bfloat16())


def test_apply_rotary_pos_emb_writes_query_and_key() -> None:
    q, k = torch.randn(2, 5, 4, 8), torch.randn(2, 5, 1, 8)
    cos, sin = torch.randn(2, 5, 1, 8), torch.randn(2, 5, 1, 8)
    npu_q, npu_k = on_npu((q, k))
    out_q, out_k = torch_npu_sim.npu_apply_rotary_pos_emb(npu_q, npu_k, *on_npu((cos, sin)))
    assert out_q.data_ptr() == npu_q.data_ptr()
    assert out_k.data_ptr() == npu_k.data_ptr()
    assert_equal(npu_q, q * cos + rotate(q, "half") * sin)
    assert_equal(npu_k, k * cos + rotate(k, "half") * sin)
