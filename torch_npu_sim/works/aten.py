"""Operators of torch, and compositions of them, as their own describers say."""

from typing import Any

import torch

from torch_npu_sim.works.call import Call
from torch_npu_sim.works.registry import NotExpressibleError, operator

__all__: list[str] = []

# Published name -> name in torch, where they differ.
_NAMES = {
    "arg_max": "argmax",
    "arg_min": "argmin",
    "conv_2d": "conv2d",
    "conv_3d": "conv3d",
    "add": "add",
    "pow": "pow",
}


@operator("aten")
def by_name(call: Call) -> None:
    """Runs the torch operator of the call's name: inputs in order, attributes by name."""
    name = _NAMES.get(call.name, call.name)
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        raise NotExpressibleError(f"{call.name}: no description, and torch has no such operator")
    inputs = [value for value in call.inputs if value is not None]
    known: dict[str, Any] = {}
    for overload in packet.overloads():
        schema = getattr(packet, overload)._schema
        wanted = {argument.name for argument in schema.arguments}
        if set(call.attributes) <= wanted:
            known = dict(call.attributes)
            break
    call.torch(packet, *inputs, **known)


@operator("transpose", "permute")
def transpose(call: Call) -> None:
    """Writes the permuted tensor."""
    axes = call.attribute("perm")
    call.torch(lambda x: x.permute(axes).contiguous(), call.tensor(0))


@operator("strided_slice")
def strided_slice(call: Call) -> None:
    """Writes a slice of every axis."""
    a = call.attributes
    x = call.tensor(0)
    steps = a.get("strides") or [1] * len(a["begin"])
    index = tuple(slice(b, e, s) for b, e, s in zip(a["begin"], a["end"], steps, strict=True))
    call.torch(lambda x: x[index].clone(memory_format=torch.contiguous_format), x)


@operator("softmax")
def softmax(call: Call) -> None:
    """Softmax along an axis."""
    call.torch(torch.softmax, call.tensor(0), call.attribute("dim", -1))


@operator("log_softmax")
def log_softmax(call: Call) -> None:
    """Log-softmax along an axis."""
    call.torch(torch.log_softmax, call.tensor(0), call.attribute("dim", -1))


@operator("layer_norm", "layernorm")
def layer_norm(call: Call) -> None:
    """Layer norm over the last axis."""
    x = call.tensor(0)
    weight, bias = call.optional(1), call.optional(2)
    call.torch(torch.nn.functional.layer_norm, x, [x.shape[-1]], weight, bias)


@operator("group_norm")
def group_norm(call: Call) -> None:
    """Group norm with weight and bias."""
    groups, epsilon = call.attribute("num_groups"), call.attribute("epsilon", 1e-5)
    call.torch(
        torch.nn.functional.group_norm,
        call.tensor(0),
        groups,
        call.optional(1),
        call.optional(2),
        epsilon,
    )


@operator("foreach_norm")
def foreach_norm(call: Call) -> None:
    """Norm of each tensor of a list."""
    call.torch(torch._foreach_norm, call.tensors(0), call.attribute("scalar", 2.0))


@operator("foreach_addcdiv_scalar")
def foreach_addcdiv_scalar(call: Call) -> None:
    """X + scalar * a / b for each tensor of three lists."""
    lists = [call.tensors(i) for i in range(3)]
    call.torch(torch._foreach_addcdiv, *lists, call.attribute("scalar", 1.0))


@operator("masked_scale")
def masked_scale(call: Call) -> None:
    """X * mask * scale as the published composition: a convert and two products."""
    x, mask = call.tensor(0), call.tensor(1)
    call.torch(lambda x, mask: x * mask.to(x.dtype) * call.attribute("scale", 1.0), x, mask)


@operator("gather")
def gather(call: Call) -> None:
    """torch.gather along an axis."""
    index = call.tensor(1).to(torch.int64)
    call.torch(torch.gather, call.tensor(0), call.attribute("dim", 0), index)


@operator("scatter")
def scatter(call: Call) -> None:
    """torch.scatter, or scatter_reduce where the call says how."""
    x, index, source = call.tensor(0), call.tensor(1).to(torch.int64), call.tensor(2)
    dim, how = call.attribute("dim", 0), call.attribute("reduce")
    if how in (None, "none"):
        call.torch(torch.scatter, x, dim, index, source)
    else:
        how = {"add": "sum", "multiply": "prod", "mul": "prod"}.get(how, how)
        call.torch(torch.scatter_reduce, x, dim, index, source, how)


@operator("unsorted_segment_sum")
def unsorted_segment_sum(call: Call) -> None:
    """Adds rows into zeros at places that an index gives."""
    x, index = call.tensor(0), call.tensor(1)
    shape = [call.attribute("num_segments"), *x.shape[index.dim() :]]

    def run(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(shape, dtype=x.dtype, device=x.device)
        return out.index_add(0, index.flatten(), x.reshape(index.numel(), *shape[1:]))

    call.torch(run, x, index)


@operator("top_k", "topk")
def top_k(call: Call) -> None:
    """The k largest of each row."""
    call.torch(torch.topk, call.tensor(0), call.attribute("k"), call.attribute("dim", -1))


@operator("nll_loss")
def nll_loss(call: Call) -> None:
    """Negative log-likelihood; the target is picked from the class axis."""
    call.torch(
        torch.nn.functional.nll_loss,
        call.tensor(0),
        call.tensor(1).to(torch.int64),
        call.optional(2),
        ignore_index=call.attribute("ignore_index", -100),
        reduction=call.attribute("reduction", "mean"),
    )


@operator("cross_entropy_loss", "cross_entropy")
def cross_entropy_loss(call: Call) -> None:
    """Log-softmax, then the negative log-likelihood."""
    target = call.tensor(1)
    if not target.is_floating_point():  # else a probability a class
        target = target.to(torch.int64)
    call.torch(
        torch.nn.functional.cross_entropy,
        call.tensor(0),
        target,
        call.optional(2),
        ignore_index=call.attribute("ignore_index", -100),
        reduction=call.attribute("reduction", "mean"),
    )


@operator("cummin")
def cummin(call: Call) -> None:
    """Running minimum and its place."""
    call.torch(torch.cummin, call.tensor(0), call.attribute("dim", call.attribute("axis", -1)))
