"""Row-wise fused kernels: norms, and norms with what surrounds them.

They compute in fp32, so 16-bit operands are converted on the way in and out.
"""

import torch

from torch_npu_sim.works.call import Call
from torch_npu_sim.works.registry import operator

__all__: list[str] = []


@operator("rms_norm")
def rms_norm(call: Call) -> None:
    """X * rsqrt(mean(x^2) + eps) * weight, and the factor of each row."""
    x, weight = call.tensor(0), call.tensor(1)
    columns = weight.numel()
    rows = x.numel() // max(columns, 1)
    out = call.empty(x.shape, x.dtype)
    factor = call.empty([rows], torch.float32)
    # square, scale, weight; one convert each way, and a second load
    call.rowwise([x, weight], [out, factor], rows=rows, columns=columns, linear=6, passes=2)


@operator("add_rms_norm")
def add_rms_norm(call: Call) -> None:
    """RMS norm of a sum that is kept."""
    x, other, weight = call.tensor(0), call.tensor(1), call.tensor(2)
    rows, columns = _rows(x, weight)
    outs = [call.empty(x.shape, x.dtype), call.empty(x.shape, x.dtype)]
    outs.append(call.empty([rows], torch.float32))
    call.rowwise([x, other, weight], outs, rows=rows, columns=columns, linear=8, passes=2)


@operator("add_rms_norm_dynamic_quant")
def add_rms_norm_dynamic_quant(call: Call) -> None:
    """RMS norm of a sum that is kept, then int8 with a scale a row.

    The card's kernel sweeps twice over all rows with fp32 sums in device memory between: its time
    (hicann/cann-bench@d59d44c) is that of 13 bytes an element where the sums leave L2, and of 40
    instructions an element where they stay.
    """
    x, weight = call.tensor(0), call.tensor(2)
    rows, columns = _rows(x, weight)
    sums = call.empty(x.shape, torch.float32)
    outs = [call.empty(x.shape, torch.int8), call.empty(x.shape, x.dtype)]
    outs.append(call.empty([rows], torch.float32))
    inputs = call.present()
    call.rowwise(inputs[:2], [sums], rows=rows, columns=columns, linear=20, passes=2)
    call.rowwise([sums, *inputs[2:]], outs, rows=rows, columns=columns, linear=20, passes=2)


@operator("add_rms_norm_dynamic_mx_quant")
def add_rms_norm_dynamic_mx_quant(call: Call) -> None:
    """RMS norm of a sum that is kept, then fp8 or fp4 with a scale a block of 32."""
    x, weight = call.tensor(0), call.tensor(2)
    rows, columns = _rows(x, weight)
    small = _quantized(call, x)
    outs = [call.empty(x.shape, x.dtype), call.empty([small], torch.uint8)]
    outs.append(call.empty([x.numel() // 32], torch.uint8))
    if call.attribute("output_rstd", False):
        outs.append(call.empty([rows], torch.float32))
    call.rowwise(call.present(), outs, rows=rows, columns=columns, linear=13, passes=2)


@operator("kv_rms_norm_rope_cache_v2", "kv_rms_norm_rope_cache")
def kv_rms_norm_rope_cache(call: Call) -> None:
    """RMS norm of the latent part, rotation of the rest, both scattered into a paged cache."""
    names = "k_rope_scale", "c_kv_scale", "k_rope_offset", "c_kv_offset", "v"
    call.torch(
        torch.ops.npu.npu_kv_rmsnorm_rope_cache_v2,
        *(call.tensor(i) for i in range(7)),
        **{name: call.optional(7 + i) for i, name in enumerate(names)},
        cache_mode=str(call.attribute("cache_mode", "Norm")),
        is_output_kv=bool(call.attribute("is_output_kv", False)),
    )


@operator("mhc_sinkhorn")
def mhc_sinkhorn(call: Call) -> None:
    """Normalises rows and columns of small matrices in turn, `iter_step` times."""
    x = call.tensor(0)
    steps = int(call.attribute("iter_step", 1))
    columns = x.shape[-1] * x.shape[-2]
    out = call.empty(x.shape, x.dtype)
    call.rowwise(
        [x],
        [out],
        rows=x.numel() // columns,
        columns=columns,
        linear=2 + 2 * steps,
        special=1 + 2 * steps,
        reductions=2 * steps,
    )


@operator("engram_gate_fusion")
def engram_gate_fusion(call: Call) -> None:
    """Two RMS norms, a gate, a third norm, a short convolution a channel, SiLU, and their sum."""
    keys = call.tensor(0)
    columns = keys.shape[-1]
    taps = int(call.attribute("kernel_size", 4))
    outs = [call.empty(keys.shape, keys.dtype)]
    if (state := call.optional(7)) is not None:
        outs.append(call.empty(state.shape, state.dtype))
    call.rowwise(
        call.present(),
        outs,
        rows=keys.numel() // max(columns, 1),
        columns=columns,
        linear=20 + 2 * taps,
        special=2,
        reductions=4,
        passes=2,
    )


def _rows(x: torch.Tensor, weight: torch.Tensor) -> tuple[int, int]:
    columns = weight.numel()
    return x.numel() // max(columns, 1), columns


def _quantized(call: Call, x: torch.Tensor) -> int:
    """Bytes of x in the format that `dst_type` names: 40 and 41 are 4 bits, the others 8."""
    four_bits = call.attribute("dst_type", 35) in (40, 41)
    return (x.numel() + 1) // 2 if four_bits else x.numel()
