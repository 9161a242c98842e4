"""Quantised rows in their slots of a cache, byte by byte."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal
from torch_npu_sim.testing.reference import extension

torch_npu_sim.enable_custom_ops()
ops, cann = torch.ops.custom, torch.ops.cann_ops_transformer

BF16 = torch.bfloat16
FP8 = [torch.float8_e4m3fn, torch.float8_e5m2]
SLOTS = [[0], [4, -1, 1], [5, 3, 0, 2]]


def rows(count: int, width: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    x = torch.randn(count, width) * torch.logspace(-3, 2, count)[:, None]
    x[0, 16:144] = 0
    return x.to(dtype)


def slots_of(values: list[int], dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def expected(cache: torch.Tensor, made: torch.Tensor, slots: list[int]) -> torch.Tensor:
    """Bytes of the cache [slots, width] after the rows in `made` have been put."""
    want = cache.view(torch.uint8).clone()
    for row, slot in zip(made, slots, strict=True):
        if slot >= 0:
            want[slot, : row.numel()] = row
    return want


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("width", [128, 512])
def test_a_packed_key_is_rope_codes_and_powers(
    width: int, slots: list[int], dtype: torch.dtype
) -> None:
    x = rows(len(slots), width)
    made = torch.stack([extension.packed_key(row, dtype) for row in x])
    columns = -(-made.shape[1] // 128) * 128
    cache = torch.randint(0, 100, (6, columns), dtype=torch.uint8).view(dtype)
    made = torch.nn.functional.pad(made, (0, columns - made.shape[1]))
    got = cache.npu()
    assert ops.kv_compress_epilog(got, x.npu(), slots_of(slots).npu()) is None
    assert torch.equal(got.cpu().view(torch.uint8), expected(cache, made, slots))


def test_a_packed_key_of_512_takes_640_bytes_in_a_paged_cache() -> None:
    x = rows(3, 512)
    cache = torch.zeros(4, 16, 1, 640, dtype=torch.float8_e4m3fn, device="npu")
    ops.kv_compress_epilog(cache, x.npu(), slots_of([0, 40, 63], torch.int64).npu())
    found = cache.cpu().view(torch.uint8).view(64, 640)
    for i, slot in enumerate([0, 40, 63]):
        values = extension.unpacked_key(found[slot], 512)
        assert torch.equal(values[448:], x[i, 448:].float())
        torch.testing.assert_close(values[:448], x[i, :448].float(), rtol=0.07, atol=1e-4)


def test_a_group_of_zeros_has_an_infinite_scale_in_fp32() -> None:
    x = rows(2, 192)
    cache = torch.zeros(2, 384, dtype=torch.float8_e4m3fn, device="npu")
    ops.kv_compress_epilog(cache, x.npu(), slots_of([1, 0]).npu(), quant_mode=1)
    found = cache.cpu().view(torch.uint8)
    for row, slot in ((0, 1), (1, 0)):
        scales = found[slot, 256:264].contiguous().view(torch.float32)
        groups = x[row, :128].float().view(2, 64)
        want = groups.abs().amax(-1) / 448
        assert torch.equal(scales, torch.where(want == 0, torch.inf, want))
        codes = (groups / scales[:, None]).to(torch.float8_e4m3fn).view(torch.uint8)
        assert torch.equal(found[slot, :128], codes.flatten())
        assert torch.equal(found[slot, 128:256], x[row, 128:].contiguous().view(torch.uint8))


def test_a_cache_of_bytes_holds_hifloat8() -> None:
    x = rows(2, 128)
    cache = torch.zeros(3, 128, dtype=torch.uint8, device="npu")
    ops.kv_compress_epilog(cache, x.npu(), slots_of([2, 0]).npu(), scale=4.0)
    values = extension.hifloat8(cache.cpu())
    assert torch.equal(values[2], extension.to_hifloat8(x[0].float() * 4))
    assert torch.equal(values[0], extension.to_hifloat8(x[1].float() * 4))
    assert not values[1].any()


@pytest.mark.parametrize("mode", ["fp8_e8m0", "FP8_BF16"])
def test_fp8_rows_of_the_other_package_differ_in_their_scales(mode: str) -> None:
    x = rows(2, 256)
    cache = torch.full((2, 4, 1, 384), 7, dtype=torch.uint8)
    got = cache.npu()
    cann.kv_compress_epilog(got, x.npu(), slots_of([5, 2]).npu(), quant_mode=mode)
    found = got.cpu().view(8, 384)
    for i, slot in enumerate([5, 2]):
        row = extension.packed_key(x[i], torch.float8_e4m3fn)
        assert torch.equal(found[slot, :320], row[:320])
        if mode == "fp8_e8m0":
            assert torch.equal(found[slot, 320:323], row[320:])
            assert (found[slot, 323:] == 7).all()
        else:
            scales = found[slot, 320:326].contiguous().view(BF16).float()
            assert torch.equal(scales, torch.exp2(row[320:].float() - 127))
            assert (found[slot, 352:] == 7).all()
    others = [slot for slot in range(8) if slot not in (5, 2)]
    assert (found[others] == 7).all()


@pytest.mark.parametrize("group", [16, 32, 64])
def test_fp4_rows_have_hifloat8_rope_and_scales_of_a_sixth(group: int) -> None:
    x = rows(2, 192)
    cache = torch.zeros(2, 4, 1, 192, dtype=torch.uint8, device="npu")
    options = {"quant_mode": "hifloat8_fp4", "quant_group_size": group, "x_scale": 2.0}
    cann.kv_compress_epilog(cache, x.npu(), slots_of([1, 6]).npu(), **options)
    found = cache.cpu().view(8, 192)
    for i, slot in enumerate([1, 6]):
        rope = extension.hifloat8(found[slot, :64])
        assert torch.equal(rope, extension.to_hifloat8(x[i, 128:].float() * 2))
        groups = x[i, :128].float().view(-1, group)
        count = 128 // group
        scales = found[slot, 128 : 128 + 2 * count].contiguous().view(BF16)
        assert torch.equal(scales, (groups.abs().amax(-1) / 6).to(BF16))
        codes = found[slot, 64:128]
        values = torch.stack([codes & 15, codes >> 4], -1).flatten().view(-1, group).long()
        table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        decoded = torch.cat([table, -table])[values] * scales.float()[:, None]
        assert ((decoded - groups).abs() <= scales.float()[:, None] * 1.05).all()


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("width", [128, 100, 300])
@pytest.mark.parametrize("x_dtype", [BF16, torch.float16])
def test_indexer_rows_have_a_scale_for_128_values(
    x_dtype: torch.dtype, width: int, mode: int, dtype: torch.dtype
) -> None:
    slots = [3, -1, 0, 2]
    x = rows(4, width, x_dtype)
    scales = -(-width // 128)
    cache = torch.zeros(4, 1, 1, width, dtype=dtype, device="npu")
    kept = torch.zeros(4, 1, 1, scales, dtype=torch.float32 if mode else torch.float8_e8m0fnu)
    kept = kept.npu()
    ops.indexer_compress_epilog(cache, kept, x.npu(), slots_of(slots).npu(), quant_mode=mode)
    for row, slot in zip(x, slots, strict=True):
        if slot < 0:
            continue
        codes, scale = extension.indexer_row(row, dtype, powers=mode == 0)
        assert torch.equal(cache[slot].cpu().view(torch.uint8).flatten(), codes.view(torch.uint8))
        found = kept[slot].cpu().flatten()
        assert torch.equal(found if mode else found.view(torch.uint8), scale)
    assert not cache[1].cpu().float().any()


def test_indexer_rows_of_hifloat8_have_no_scale() -> None:
    x = rows(2, 128)
    cache = torch.zeros(3, 128, dtype=torch.uint8, device="npu")
    unused = torch.ones(1, device="npu")
    ops.indexer_compress_epilog(cache, unused, x.npu(), slots_of([2, 1]).npu(), quant_mode=2)
    values = extension.hifloat8(cache.cpu())
    assert torch.equal(values[[2, 1]], extension.to_hifloat8(x.float()))
    assert unused.item() == 1


def test_rows_are_scattered_and_negative_places_skipped() -> None:
    table, update = torch.randn(5, 8).to(BF16), torch.randn(3, 8).to(BF16)
    got = table.npu()
    places = torch.tensor([[4], [-1], [0]])
    ops.scatter_nd_update_asc(got, places.npu(), update.npu())
    table[4], table[0] = update[0], update[2]
    assert_equal(got, table)


@pytest.mark.parametrize(
    ("table", "indices", "update", "text"),
    [
        ((5, 8), [[5]], (1, 8), "indices below 5"),
        ((5, 8), [[0], [1]], (1, 8), "update of \\[2, 8\\]"),
        ((5, 8), [[0, 1]], (1, 8), "indices of \\[updates, 1\\]"),
        ((0, 8), [[0]], (1, 8), "var of"),
    ],
)
def test_scatter_names_the_argument_it_refuses(
    table: tuple[int, ...], indices: list[list[int]], update: tuple[int, ...], text: str
) -> None:
    arguments = [torch.zeros(table), torch.tensor(indices), torch.zeros(update)]
    moved = [a.npu() if a.dtype == torch.int64 else a.to(BF16).npu() for a in arguments]
    with pytest.raises((ValueError, IndexError), match=f"scatter_nd_update_asc: expected {text}"):
        ops.scatter_nd_update_asc(*moved)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": torch.zeros(2, 128)}, "x of bfloat16"),
        ({"x": torch.zeros(2, 64, dtype=BF16)}, "x wider than 64"),
        ({"x": torch.zeros(0, 128, dtype=BF16)}, "x of \\[tokens"),
        ({"slot_mapping": torch.zeros(3, dtype=torch.int32)}, "slot_mapping of \\[2\\]"),
        ({"slot_mapping": torch.zeros(2)}, "slot_mapping of int32"),
        ({"slot_mapping": torch.tensor([0, 9])}, "slot_mapping below 4"),
        ({"kv_compress_cache": torch.zeros(4, 256)}, "kv_compress_cache of float8"),
        ({"kv_compress_cache": torch.zeros(4, 300, dtype=FP8[0])}, "256 bytes a row"),
        ({"quant_mode": 3}, "quant_mode 1"),
        ({"quant_group_size": 32}, "quant_group_size of 64"),
    ],
)
def test_kv_compress_epilog_names_the_argument_it_refuses(
    change: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {
        "kv_compress_cache": torch.zeros(4, 256, dtype=FP8[0]),
        "x": torch.zeros(2, 128, dtype=BF16),
        "slot_mapping": torch.zeros(2, dtype=torch.int32),
    }
    arguments |= change
    moved = {k: v.npu() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
    with pytest.raises(
        (ValueError, TypeError, IndexError), match=f"kv_compress_epilog: expected .*{text}"
    ):
        ops.kv_compress_epilog(**moved)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"quant_mode": 3}, "quant_mode 0"),
        ({"x": torch.zeros(2, 128)}, "x of bfloat16"),
        ({"indexer_compress_cache": torch.zeros(4, 64, dtype=FP8[0])}, "x's width 128"),
        ({"indexer_compress_cache": torch.zeros(4, 128)}, "indexer_compress_cache of float8"),
        ({"indexer_compress_scale": torch.zeros(4, 1, dtype=BF16)}, "scale of Float"),
        ({"indexer_compress_scale": torch.zeros(3, 1)}, "1 scales for each row"),
    ],
)
def test_indexer_compress_epilog_names_the_argument_it_refuses(
    change: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {
        "indexer_compress_cache": torch.zeros(4, 128, dtype=FP8[0]),
        "indexer_compress_scale": torch.zeros(4, 1),
        "x": torch.zeros(2, 128, dtype=BF16),
        "slot_mapping": torch.zeros(2, dtype=torch.int32),
    }
    arguments |= change
    moved = {k: v.npu() if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
    with pytest.raises(
        (ValueError, TypeError), match=f"indexer_compress_epilog: expected .*{text}"
    ):
        ops.indexer_compress_epilog(**moved)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quant_mode": "fp8"}, "quant_mode 'fp8_bf16'"),
        ({"quant_mode": "hifloat8_fp4", "quant_group_size": 8}, "quant_group_size of 16"),
    ],
)
def test_the_other_packages_epilog_names_the_option_it_refuses(
    options: dict[str, Any], text: str
) -> None:
    cache = torch.zeros(2, 4, 1, 256, dtype=torch.uint8, device="npu")
    x, slots = torch.zeros(1, 128, dtype=BF16, device="npu"), slots_of([0]).npu()
    with pytest.raises(ValueError, match=f"kv_compress_epilog: expected {text}"):
        cann.kv_compress_epilog(cache, x, slots, **options)
    with pytest.raises(ValueError, match="at least 193 bytes a row"):
        cann.kv_compress_epilog(cache[..., :128].contiguous(), x, slots)
