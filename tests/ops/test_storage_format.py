"""Layouts of storages: a tag that views share, values that stay, and the memory that NZ takes."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu

ND, NCHW, NC1HWC0, NZ, NZ_C0_16 = 2, 0, 3, 29, 50
FP4 = 296


def padded(shape: tuple[int, ...], columns: int) -> int:
    """Elements of `shape` in whole fractals of 16 rows of `columns`."""
    *batch, rows, width = shape
    return torch.Size(batch).numel() * -(-rows // 16) * 16 * -(-width // columns) * columns


@pytest.mark.parametrize(
    ("dtype", "columns"),
    [(torch.int8, 32), (torch.float16, 16), (torch.bfloat16, 16), (torch.float32, 8)],
)
@pytest.mark.parametrize("shape", [(16, 32), (3, 5), (2, 17, 33), (0, 4)])
def test_nz_keeps_values_and_takes_whole_fractals(
    shape: tuple[int, ...], dtype: torch.dtype, columns: int
) -> None:
    x = (torch.randn(shape) * 9).to(dtype)
    y = torch_npu_sim.npu_format_cast(on_npu(x), NZ)
    assert torch.equal(y.cpu(), x)
    assert torch_npu_sim.get_npu_format(y) == NZ
    assert torch_npu_sim.get_storage_size(y) == padded(shape, columns)
    assert y.untyped_storage().nbytes() == padded(shape, columns) * x.element_size()


def test_memory_grows_by_the_padding() -> None:
    x = torch.zeros(1, 16384, device="npu", dtype=torch.float16)
    before = torch.npu.memory_allocated()
    y = torch_npu_sim.npu_format_cast(x, NZ)
    assert torch.npu.memory_allocated() - before == 16 * 16384 * 2
    del y
    assert torch.npu.memory_allocated() == before


def test_fp4_weights_take_half_of_what_their_target_has() -> None:
    codes = torch.arange(64 * 48).view(64, 48).to(torch.uint8)
    y = torch_npu_sim.npu_format_cast(
        on_npu(codes), NZ, customize_dtype=torch.float8_e4m3fn, input_dtype=FP4
    )
    assert torch.equal(y.cpu(), codes)
    assert torch_npu_sim.get_npu_format(y) == NZ_C0_16
    assert torch_npu_sim.get_storage_size(y) == padded((64, 48), 16)


def test_views_share_the_layout_and_copies_are_nd() -> None:
    y = torch_npu_sim.npu_format_cast(torch.ones(4, 32, device="npu").half(), NZ)
    for view in (y.t(), y[1:], y.unsqueeze(0), y.detach(), y.view(2, 2, 32)):
        assert torch_npu_sim.get_npu_format(view) == NZ
    for copy in (y.clone(), y + 1, y.t().contiguous()):
        assert torch_npu_sim.get_npu_format(copy) == ND


def test_a_cast_to_the_same_layout_shares_the_bytes() -> None:
    x = torch.ones(4, 4, device="npu")
    y = torch_npu_sim.npu_format_cast(x, ND)
    y += 1
    assert x.cpu().unique().tolist() == [2.0]


def test_a_layout_with_the_bytes_of_nd_is_only_a_tag() -> None:
    x = torch.ones(1, 2, 3, 4, device="npu")
    before = torch.npu.memory_allocated()
    y = torch_npu_sim.npu_format_cast(x, NCHW)
    assert torch_npu_sim.get_npu_format(y) == NCHW
    assert torch_npu_sim.get_npu_format(x) == NCHW
    assert torch.npu.memory_allocated() == before


def test_back_to_nd_drops_the_padding() -> None:
    x = torch.randn(3, 5)
    y = torch_npu_sim.npu_format_cast(torch_npu_sim.npu_format_cast(on_npu(x), NZ), ND)
    assert torch.equal(y.cpu(), x)
    assert torch_npu_sim.get_npu_format(y) == ND
    assert torch_npu_sim.get_storage_size(y) == 15


def test_a_slice_is_cast_without_its_neighbours() -> None:
    x = torch.randn(6, 8)
    y = torch_npu_sim.npu_format_cast(on_npu(x)[2:4, 1:5], NZ)
    assert torch.equal(y.cpu(), x[2:4, 1:5])
    assert torch_npu_sim.get_storage_size(y) == padded((2, 4), 8)


def test_in_place_the_tensor_moves_to_the_new_storage() -> None:
    x = torch.randn(3, 5)
    y = on_npu(x)
    view = y[0]
    result = torch_npu_sim.npu_format_cast_(y, NZ)
    assert result is y
    assert torch.equal(y.cpu(), x)
    assert torch_npu_sim.get_npu_format(y) == NZ
    assert torch_npu_sim.get_npu_format(view) == ND


def test_the_layout_of_another_tensor() -> None:
    x, like = torch.randn(3, 5), torch_npu_sim.npu_format_cast(torch.ones(2, 2).npu(), NZ)
    y = torch_npu_sim.npu_format_cast(on_npu(x), like)
    assert torch_npu_sim.get_npu_format(y) == NZ
    z = torch_npu_sim.npu_format_cast_(torch_npu_sim.npu_format_cast(on_npu(x * 0), NZ), on_npu(x))
    assert (torch_npu_sim.get_npu_format(z), torch.equal(z.cpu(), x)) == (NZ, True)


def test_products_take_weights_in_nz() -> None:
    x, w = torch.randn(4, 8).half(), torch.randn(8, 6).half()
    y = on_npu(x) @ torch_npu_sim.npu_format_cast(on_npu(w), NZ)
    torch.testing.assert_close(y.cpu(), x @ w, rtol=1e-2, atol=1e-2)


def test_the_gradient_passes_unchanged() -> None:
    x = torch.randn(4, 8, device="npu", requires_grad=True)
    y = torch_npu_sim.npu_format_cast(x, NZ)
    assert y.requires_grad
    y.backward(torch.full((4, 8), 3.0, device="npu"))
    assert x.grad is not None
    assert x.grad.cpu().unique().tolist() == [3.0]
    assert torch_npu_sim.get_npu_format(x.grad) == ND


def test_a_saved_tensor_comes_back() -> None:
    import io

    x = torch.randn(3, 5)
    file = io.BytesIO()
    torch.save(torch_npu_sim.npu_format_cast(on_npu(x), NZ), file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True).cpu(), x)


@pytest.mark.parametrize("name", ["empty_with_format", "unsafe_empty_with_format"])
def test_tensors_are_made_with_a_layout(name: str) -> None:
    make = getattr(torch_npu_sim, name)
    y = make([3, 5], dtype=torch.float16, device="npu", acl_format=NZ)
    assert (y.shape, y.dtype, y.device.type) == ((3, 5), torch.float16, "npu")
    assert torch_npu_sim.get_npu_format(y) == NZ
    assert torch_npu_sim.get_storage_size(y) == padded((3, 5), 16)
    assert torch_npu_sim.get_npu_format(make([3], device="npu")) == ND


def test_swapped_memory_is_not_the_cards() -> None:
    before = torch.npu.memory_allocated()
    y = torch_npu_sim.empty_with_swapped_memory([1024, 1024], dtype=torch.float32, device="npu:0")
    assert torch.npu.memory_allocated() == before
    y.fill_(2)
    assert ((y + 1).cpu() == 3).all()


def test_copy_memory_moves_bytes_as_they_lie() -> None:
    x, y = torch.arange(6.0, device="npu").view(2, 3), torch.zeros(2, 3, device="npu")
    torch_npu_sim.copy_memory_(y, x.t())
    assert y.cpu().flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_changed_pointer_shows_the_other_tensors_bytes() -> None:
    big, small = torch.arange(8.0, device="npu"), torch.zeros(3, device="npu")
    assert torch_npu_sim.npu_change_data_ptr(small, big, 2) == 0
    assert small.cpu().tolist() == [2.0, 3.0, 4.0]
    small.fill_(9)
    del small
    assert big.cpu().tolist() == [0.0, 1.0, 9.0, 9.0, 9.0, 5.0, 6.0, 7.0]


def test_refusals_name_operator_and_argument() -> None:
    x = torch.ones(2, 3, device="npu")
    with pytest.raises(NotImplementedError, match="npu_format_cast: expected acl_format"):
        torch_npu_sim.npu_format_cast(x, NC1HWC0)
    with pytest.raises(ValueError, match="npu_format_cast: expected customize_dtype"):
        torch_npu_sim.npu_format_cast(x, NZ, customize_dtype=torch.float64)
    with pytest.raises(ValueError, match="npu_format_cast_: expected src of"):
        torch_npu_sim.npu_format_cast_(x, torch.ones(3, 2, device="npu"))
    with pytest.raises(TypeError, match="copy_memory_: expected src of"):
        torch_npu_sim.copy_memory_(x, x.half())
    with pytest.raises(ValueError, match="copy_memory_: expected src of"):
        torch_npu_sim.copy_memory_(x, x[0].clone())
    with pytest.raises(ValueError, match="npu_change_data_ptr: expected index"):
        torch_npu_sim.npu_change_data_ptr(x, x.clone(), 1)
    with pytest.raises(ValueError, match="npu"):
        torch_npu_sim.get_npu_format(torch.ones(2))


def test_a_cast_is_one_copy_of_the_padded_bytes() -> None:
    x = torch.ones(20, 40, device="npu").half()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_format_cast(x, NZ)
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (20 * 40 * 2, 32 * 48 * 2)
