"""Products with a permutation or an epilogue, against plain ones."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["", "add", "mul", "gelu_erf", "gelu_tanh", "16cast32"])
def test_the_epilogue_works_on_the_product_before_it_is_rounded(
    kind: str, dtype: torch.dtype
) -> None:
    x1, x2, x3 = (torch.randn(s, dtype=dtype) / 2 for s in ((4, 8), (8, 5), (4, 5)))
    third = x3 if kind in ("add", "mul") else None
    y = torch_npu_sim.npu_fused_matmul(*on_npu((x1, x2)), x3=on_npu(third), fused_op_type=kind)
    want = x1.double() @ x2.double()
    if kind == "add":
        want = want + x3
    if kind == "mul":
        want = want * x3
    if kind.startswith("gelu"):
        approximate = "tanh" if kind == "gelu_tanh" else "none"
        want = torch.nn.functional.gelu(want, approximate=approximate)
    assert_equal(y, want.to(torch.float32 if kind == "16cast32" else dtype))
    assert_meta_agrees(torch.ops.npu.npu_fused_matmul, x1, x2, x3=third, fused_op_type=kind)


def test_an_epilogue_without_its_operand_is_refused() -> None:
    x = torch.ones(2, 2, device="npu")
    with pytest.raises(ValueError, match="npu_fused_matmul: expected x3 with"):
        torch_npu_sim.npu_fused_matmul(x, x, fused_op_type="add")
    with pytest.raises(ValueError, match="npu_fused_matmul: expected fused_op_type"):
        torch_npu_sim.npu_fused_matmul(x, x, fused_op_type="tanh")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("perm_x1", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("perm_x2", [(0, 1, 2), (0, 2, 1)])
def test_batches_are_permuted_before_and_after(
    perm_x1: tuple[int, ...], perm_x2: tuple[int, ...], dtype: torch.dtype
) -> None:
    a, b = torch.randn(2, 3, 8, dtype=dtype), torch.randn(2, 8, 5, dtype=dtype)
    x = a.permute(perm_x1).contiguous()
    weight = b.permute(perm_x2).contiguous()
    options = {"perm_x1": perm_x1, "perm_x2": perm_x2, "perm_y": (1, 0, 2)}
    y = torch_npu_sim.npu_transpose_batchmatmul(*on_npu((x, weight)), **options)
    want = (a.double() @ b.double()).transpose(0, 1)
    assert_equal(y, want.to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_transpose_batchmatmul, x, weight, **options)
    split = torch_npu_sim.npu_transpose_batchmatmul(
        *on_npu((x, weight)), **options, batch_split_factor=2
    )
    assert_equal(split, want.reshape(3, 2, 5).transpose(0, 1).to(dtype))


def test_permutations_that_the_card_lacks_are_refused() -> None:
    x = torch.ones(2, 2, 2, device="npu")
    with pytest.raises(ValueError, match="npu_transpose_batchmatmul: expected perm_x1"):
        torch_npu_sim.npu_transpose_batchmatmul(x, x, perm_x1=(2, 1, 0))
