"""Fused element-wise kernels: gated activations, optimizers, rotations, hyper-connections.

They compute in fp32, so 16-bit operands are converted on the way in and out.
"""

import math

import torch

from torch_npu_sim.works.call import Call
from torch_npu_sim.works.registry import operator

__all__: list[str] = []


@operator("swi_glu", "swiglu")
def swiglu(call: Call) -> None:
    """SiLU of one half times the other half, along an axis."""
    x = call.tensor(0)
    # multiply, add, multiply; three converts; exp and divide
    call.elementwise([x], [_half(call, x)], linear=7, special=2)


@operator("clipped_swiglu")
def clipped_swiglu(call: Call) -> None:
    """SwiGLU of clamped halves, with a bias."""
    x = call.tensor(0)
    call.elementwise([x], [_half(call, x)], linear=10, special=2)


@operator("apply_adam_w")
def apply_adam_w(call: Call) -> None:
    """One AdamW step: weight and two moments are read and written, the gradient is read."""
    var, m, v = (call.tensor(i) for i in range(3))
    # 14 of the step; each operand is loaded or stored in a slot of its own
    call.elementwise(call.present(), [var, m, v], linear=22, special=2)


@operator("apply_rotary_pos_emb", "rotary_mul")
def apply_rotary(call: Call) -> None:
    """Rotates the last axis of queries and keys by cosines and sines."""
    tables = [tensor for tensor in call.present()[-2:]]
    turned = call.present()[:-2]
    outs = [call.empty(tensor.shape, tensor.dtype) for tensor in turned]
    elements = sum(out.numel() for out in outs)
    call.elementwise([*turned, *tables], outs, linear=5, elements=elements)


@operator("attention_update")
def attention_update(call: Call) -> None:
    """Combines partial attention outputs by their log-sum-exps."""
    sums, parts = call.tensors(0), call.tensors(1)
    out = call.empty(parts[0].shape, parts[0].dtype)
    count = len(parts)
    call.elementwise([*sums, *parts], [out], linear=3 * count + 1, special=1)


@operator("ai_infra_aggregate_hidden")
def aggregate_hidden(call: Call) -> None:
    """A causal window over tokens: a sum of as many products as the weight has rows."""
    x, weight = call.tensor(0), call.tensor(1)
    out = call.empty(x.shape, x.dtype)
    call.elementwise([x, weight], [out], linear=2 * weight.shape[0] + 2)


@operator("ai_infra_aggregate_hidden_grad")
def aggregate_hidden_grad(call: Call) -> None:
    """Gradients of the window's input and weight."""
    grad, x, weight = call.tensor(0), call.tensor(1), call.tensor(2)
    outs = [call.empty(x.shape, x.dtype), call.empty(weight.shape, torch.float32)]
    call.elementwise([grad, x, weight], outs, linear=4 * weight.shape[0] + 3)


@operator("ai_infra_manifold_constrained_hyper_connection_post_grad", "mhc_post_grad")
def mhc_post_grad(call: Call) -> None:
    """Gradients of mixing n residual streams by an n x n matrix and adding a branch."""
    grad, x, mix, branch, gate = (call.tensor(i) for i in range(5))
    outs = [call.empty(t.shape, t.dtype) for t in (x, mix, branch, gate)]
    streams = x.shape[-2]
    call.elementwise(call.present(), outs, linear=4 * streams + 4, elements=x.numel())


@operator("ai_infra_fused_causal_conv1d")
def causal_conv1d(call: Call) -> None:
    """A short causal convolution a channel, with a state that is read and written."""
    x, weight = call.tensor(0), call.tensor(1)
    taps = weight.shape[0]
    special = 2 if call.attribute("activation") == "silu" else 0
    out = call.empty(x.shape, x.dtype)
    call.elementwise([x, weight], [out], linear=2 * taps + 3, special=special)


@operator("advance_step_v2")
def advance_step(call: Call) -> None:
    """Moves decoding state on by a token: small integer tensors, read and written."""
    tensors = call.present()
    wide = [t for t in tensors if t.dim() == 1]
    elements = max((math.prod(t.shape) for t in wide), default=1)
    call.elementwise(wide, wide[:1], linear=8, elements=elements, compute="int64")


def _half(call: Call, x: torch.Tensor) -> torch.Tensor:
    axis = int(call.attribute("dim", -1))
    shape = list(x.shape)
    shape[axis] //= 2
    return call.empty(shape, x.dtype)


@operator("data_copy")
def data_copy(call: Call) -> None:
    """Reads a matrix into the cores, `block_rows` runs of `run` bytes a command; writes nothing."""
    x = call.tensor(0)
    size = x.numel() * x.element_size()
    target = str(call.attribute("target", "UB")).lower()
    row = x.shape[-1] * x.element_size()
    work = {
        "kind": "copy",
        "read": size,
        "written": 0,
        "run": min(int(call.attribute("run", 0)), size),
        "target": target,
        "descriptor_runs": int(call.attribute("block_rows", 0)),
        "pitch": row,
        "sweeps": int(call.attribute("sweeps", 1)),
        "sliced": bool(call.attribute("sliced", False)),
    }
    call.launch(work, [x], [])
