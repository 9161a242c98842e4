"""The compressor against its sums over windows, whole or in pieces, and against transformers."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import extension

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16 = torch.bfloat16
HIDDEN, WIDTH, ROPE = 32, 16, 8
FORMS = [(4, 2), (128, 1)]


class Layer:
    """Random weights of one compressor, its states in blocks of 16 for two sequences."""

    def __init__(self, ratio: int, coff: int, dtype: torch.dtype = BF16) -> None:
        """Draws the tensors."""
        self.ratio, self.coff = ratio, coff
        shape = (coff * WIDTH, HIDDEN)
        self.wkv, self.wgate = (torch.randn(shape, dtype=dtype) / 4 for _ in range(2))
        self.ape = torch.randn(ratio, coff * WIDTH)
        self.norm = torch.rand(WIDTH) + 0.5
        self.states = torch.zeros(40, 16, 2 * coff * WIDTH)
        self.table = torch.arange(1, 39, dtype=torch.int32).view(2, 19)

    def angles(self, windows: range) -> tuple[torch.Tensor, torch.Tensor]:
        phase = torch.tensor(windows).float()[:, None] * self.ratio / 50 * torch.arange(1, 5)
        return tuple(f(phase).repeat_interleave(2, -1) for f in (torch.sin, torch.cos))  # type: ignore[return-value]

    def keys(self, x: torch.Tensor) -> torch.Tensor:
        """All keys of one sequence, fp32."""
        kv, score = x.float() @ self.wkv.float().T, x.float() @ self.wgate.float().T
        keys = extension.compressed_keys(kv, score, self.ape, self.coff)
        keys = keys * torch.rsqrt(keys.pow(2).mean(-1, keepdim=True) + 1e-6) * self.norm
        sin, cos = self.angles(range(keys.shape[0]))
        turned = extension.rotate_pairs(keys[:, -ROPE:], cos, sin)
        return torch.cat([keys[:, :-ROPE], turned], -1)

    def arguments(self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> list[Any]:
        weights = [self.wkv, self.wgate, self.states, self.ape, self.norm]
        return [x, *weights, sin, cos, ROPE, self.ratio]

    def options(self, **more: Any) -> dict[str, Any]:
        base = {"coff": self.coff, "rotary_mode": 2, "state_block_table": self.table}
        return base | {k: torch.tensor(v, dtype=torch.int32) for k, v in more.items()}


def padded(layer: Layer, first: int, last: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles of the windows that end in positions first .. last, filled up to `rows`."""
    sin, cos = layer.angles(range(first // layer.ratio, last // layer.ratio))
    missing = rows - sin.shape[0]
    return tuple(torch.cat([a, torch.zeros(missing, ROPE)]) for a in (sin, cos))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [BF16, torch.float16])
@pytest.mark.parametrize(("ratio", "coff"), FORMS)
@pytest.mark.parametrize("tokens", [0, 1, 2])
def test_whole_sequences_give_the_sums_over_windows(
    tokens: int, ratio: int, coff: int, dtype: torch.dtype
) -> None:
    layer = Layer(ratio, coff, dtype)
    lengths = [tokens * ratio + 3, 2 * ratio - 1]
    x = torch.randn(sum(lengths), HIDDEN, dtype=dtype)
    parts = x.split(lengths)
    want = torch.cat([layer.keys(part) for part in parts])
    rows = min(x.shape[0], x.shape[0] // ratio + 2)
    angles = [layer.angles(range(length // ratio)) for length in lengths]
    sin, cos = (torch.cat([a[i] for a in angles]) for i in (0, 1))
    fill = torch.zeros(rows - sin.shape[0], ROPE)
    arguments = layer.arguments(x, torch.cat([sin, fill]), torch.cat([cos, fill]))
    options = layer.options(cu_seqlens=[0, lengths[0], sum(lengths)])
    got = ops.compressor(*on_npu(arguments), **on_npu(options)).cpu()
    assert got.shape == (rows, WIDTH)
    assert got.dtype == dtype
    torch.testing.assert_close(got[: want.shape[0]].float(), want, rtol=1e-2, atol=1e-2)
    assert not got[want.shape[0] :].any()
    assert_meta_agrees(ops.compressor, *arguments, **options)


@pytest.mark.parametrize(("ratio", "coff"), FORMS)
@pytest.mark.parametrize("cuts", [[1], [5], [127, 128], [130, 131, 132]])
def test_pieces_of_a_sequence_give_the_keys_of_the_whole(
    cuts: list[int], ratio: int, coff: int
) -> None:
    layer = Layer(ratio, coff)
    x = torch.randn(2, 260, HIDDEN, dtype=BF16)
    want = torch.stack([layer.keys(part) for part in x])
    layer.states = layer.states.npu()
    found = []
    for first, last in zip([0, *cuts], [*cuts, 260], strict=True):
        rows = -(-(last - first) // ratio)
        sin, cos = padded(layer, first, last, rows)
        arguments = layer.arguments(x[:, first:last], *(a.expand(2, -1, -1) for a in (sin, cos)))
        options = layer.options(start_pos=[first, first])
        arguments = [a if a is layer.states else on_npu(a) for a in arguments]
        got = ops.compressor(*arguments, **on_npu(options)).cpu()
        found.append(got[:, : last // ratio - first // ratio])
    torch.testing.assert_close(torch.cat(found, 1).float(), want, rtol=1e-2, atol=1e-2)


def test_states_are_products_with_the_position_added_and_block_0_is_left_alone() -> None:
    layer = Layer(4, 2)
    layer.table[0, 0] = 0
    x = torch.randn(1, 20, HIDDEN, dtype=BF16)
    sin, cos = padded(layer, 0, 20, 5)
    layer.table = layer.table[:1]
    arguments = on_npu(layer.arguments(x, sin[None], cos[None]))
    ops.compressor(*arguments, **on_npu(layer.options()))
    states = arguments[3].cpu()
    kv, score = x[0].float() @ layer.wkv.float().T, x[0].float() @ layer.wgate.float().T
    score = score + layer.ape.repeat(5, 1)
    assert not states[0].any()
    torch.testing.assert_close(states[2, :4], torch.cat([kv, score], 1)[16:], rtol=1e-5, atol=1e-5)


def test_tokens_beyond_seqused_change_nothing() -> None:
    layer = Layer(4, 2)
    x = torch.randn(2, 12, HIDDEN, dtype=BF16)
    sin, cos = (a.expand(2, -1, -1) for a in padded(layer, 0, 12, 3))
    arguments = on_npu(layer.arguments(x, sin, cos))
    got = ops.compressor(*arguments, **on_npu(layer.options(seqused=[9, 0]))).cpu()
    torch.testing.assert_close(got[0, :2].float(), layer.keys(x[0, :9]), rtol=1e-2, atol=1e-2)
    assert not got[0, 2:].any()
    assert not got[1].any()
    assert not arguments[3][20:].any()


def test_the_quantised_compressor_is_the_sums_before_the_norm() -> None:
    layer = Layer(4, 2)
    codes = [torch.randint(8, 40, shape, dtype=torch.uint8) for shape in ((2, 8, 32), (32, 32))]
    x, weight = (extension.hifloat8(c) for c in codes)
    scale, channel = torch.tensor([0.5]), torch.rand(32) + 0.5
    arguments = [codes[0], codes[1], codes[1], layer.states, layer.ape, 1, 4]
    options = {
        "x_descale": scale,
        "wkv_descale": channel,
        "wgate_descale": channel,
        "coff": 2,
        "state_block_table": layer.table,
    }
    got = ops.quant_compressor(*on_npu(arguments), **on_npu(options))
    products = [(part * scale) @ weight.T * channel for part in x]
    want = torch.stack([extension.compressed_keys(p, p, layer.ape, 2) for p in products])
    assert got.dtype == BF16
    torch.testing.assert_close(got.cpu().float(), want, rtol=1e-2, atol=1e-2)
    assert_meta_agrees(ops.quant_compressor, *arguments, **options)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"coff": 1}, "cmp_ratio 4 with coff 2"),
        ({"rotary_mode": 1}, "rotary_mode 2"),
        ({"start_pos": torch.tensor([1], dtype=torch.int32)}, "start_pos of 2"),
        ({"start_pos": torch.tensor([0, -4], dtype=torch.int32)}, "start_pos of 0 or more"),
        ({"seqused": torch.tensor([9, 0], dtype=torch.int32)}, "seqused in"),
        ({"cu_seqlens": torch.tensor([0, 4, 8], dtype=torch.int32)}, "cu_seqlens to be None"),
        ({"state_block_table": torch.zeros(1, 1, dtype=torch.int32)}, "state_block_table of"),
        ({"start_pos": torch.tensor([400, 0], dtype=torch.int32)}, "a column for position"),
        ({"state_block_table": torch.full((2, 19), 40, dtype=torch.int32)}, "blocks in"),
    ],
)
def test_the_compressor_names_the_option_it_refuses(change: dict[str, Any], text: str) -> None:
    layer = Layer(4, 2)
    x = torch.randn(2, 8, HIDDEN, dtype=BF16)
    sin, cos = (a.expand(2, -1, -1) for a in padded(layer, 0, 8, 2))
    arguments = on_npu(layer.arguments(x, sin, cos))
    with pytest.raises((ValueError, IndexError), match=f"compressor: expected .*{text}"):
        ops.compressor(*arguments, **on_npu(layer.options() | change))


@pytest.mark.parametrize(
    ("index", "tensor", "text"),
    [
        (0, torch.zeros(2, 8, HIDDEN), "x of bfloat16"),
        (0, torch.zeros(8, dtype=BF16), "x of \\[tokens"),
        (1, torch.zeros(32, 31, dtype=BF16), "wkv of"),
        (2, torch.zeros(16, 32, dtype=BF16), "wgate of"),
        (3, torch.zeros(4, 16, 63), "state_cache of"),
        (4, torch.zeros(3, 32), "ape of"),
        (5, torch.zeros(17), "norm_weight of"),
        (6, torch.zeros(2, 3, 8), "rope_sin and rope_cos of"),
        (7, torch.zeros(2, 2, 8, dtype=BF16), "rope_cos of float32"),
    ],
)
def test_the_compressor_names_the_tensor_it_refuses(
    index: int, tensor: torch.Tensor, text: str
) -> None:
    layer = Layer(4, 2)
    sin, cos = (a.expand(2, -1, -1) for a in padded(layer, 0, 8, 2))
    arguments = layer.arguments(torch.randn(2, 8, HIDDEN, dtype=BF16), sin, cos)
    arguments[index] = tensor
    with pytest.raises((ValueError, TypeError), match=f"compressor: expected .*{text}"):
        ops.compressor(*on_npu(arguments), **on_npu(layer.options()))


def test_a_ring_of_states_is_not_built() -> None:
    layer = Layer(4, 2)
    sin, cos = (a.expand(2, -1, -1) for a in padded(layer, 0, 8, 2))
    arguments = on_npu(layer.arguments(torch.zeros(2, 8, HIDDEN, dtype=BF16), sin, cos))
    with pytest.raises(NotImplementedError, match="compressor: cache_mode 2"):
        ops.compressor(*arguments, **on_npu(layer.options() | {"cache_mode": 2}))
