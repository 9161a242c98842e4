"""Operators on windows of images and volumes: convolution, pooling, interpolation."""

from typing import Any

import torch

from torch_npu_sim.works.call import Call
from torch_npu_sim.works.registry import operator

__all__: list[str] = []


@operator("adaptive_avg_pool_3d")
def adaptive_avg_pool_3d(call: Call) -> None:
    """Mean over windows that tile the volume."""
    call.torch(
        torch.nn.functional.adaptive_avg_pool3d, call.tensor(0), call.attribute("output_size")
    )


@operator("resize_bilinear")
def resize_bilinear(call: Call) -> None:
    """Bilinear interpolation of images."""
    call.torch(
        torch.ops.aten.upsample_bilinear2d,
        call.tensor(0),
        call.attribute("output_size"),
        bool(call.attribute("align_corners", False)),
    )


@operator("resize_nearest_neighbor_v2_grad")
def resize_nearest_grad(call: Call) -> None:
    """Backward of nearest-neighbour interpolation."""
    grad = call.tensor(0)
    height, width = call.attribute("input_size")
    shape = [*grad.shape[:2], height, width]
    call.torch(
        torch.ops.aten.upsample_nearest2d_backward, grad, list(grad.shape[2:]), shape, None, None
    )


@operator("max_pool3d_grad_with_argmax")
def max_pool3d_grad(call: Call) -> None:
    """Backward of a 3-d max pooling whose places are known."""
    x, grad, places = call.tensor(0), call.tensor(1), call.tensor(2).to(torch.int64)
    a = call.attributes
    call.torch(
        torch.ops.aten.max_pool3d_with_indices_backward,
        grad,
        x,
        a["ksize"],
        a["strides"],
        a["pads"],
        a["dilation"],
        a["ceil_mode"],
        places,
    )


@operator("conv_2d", "depthwise_conv_2d", "conv_3d", "conv2d", "conv3d")
def convolution(call: Call) -> None:
    """A convolution; a depthwise one has as many groups as channels."""
    x, weight = call.tensor(0), call.tensor(1)
    space = x.dim() - 2
    groups = call.attribute("groups", x.shape[1] // weight.shape[1])
    call.torch(
        torch.ops.aten.convolution,
        x,
        weight,
        call.optional(2),
        _per_axis(call.attribute("strides", call.attribute("stride", 1)), space),
        _per_axis(call.attribute("pads", call.attribute("padding", 0)), space),
        _per_axis(call.attribute("dilations", call.attribute("dilation", 1)), space),
        False,
        [0] * space,
        groups,
    )


@operator("conv_3d_backprop_filter", "conv_2d_backprop_filter")
def weight_gradient(call: Call) -> None:
    """Gradient of a convolution's weight: x, then the gradient of the output."""
    x, grad = call.tensor(0), call.tensor(-1)
    sizes = call.attribute("filter_size", call.attribute("filter_sizes"))
    weight = call.empty(sizes if sizes is not None else call.tensor(1).shape, x.dtype)
    space = x.dim() - 2
    call.torch(
        torch.ops.aten.convolution_backward,
        grad,
        x,
        weight,
        None,
        _per_axis(call.attribute("strides", 1), space),
        _per_axis(call.attribute("pads", call.attribute("padding", 0)), space),
        _per_axis(call.attribute("dilations", call.attribute("dilation", 1)), space),
        False,
        [0] * space,
        call.attribute("groups", 1),
        [False, True, False],
    )


@operator("grid_sampler_3d")
def grid_sampler_3d(call: Call) -> None:
    """Samples a volume at places that a grid gives."""
    modes = {"bilinear": 0, "nearest": 1}
    paddings = {"zeros": 0, "border": 1, "reflection": 2}
    call.torch(
        torch.ops.aten.grid_sampler_3d,
        call.tensor(0),
        call.tensor(1),
        modes[call.attribute("interpolation_mode", "bilinear")],
        paddings[call.attribute("padding_mode", "zeros")],
        bool(call.attribute("align_corners", False)),
    )


@operator("dilation_2d")
def dilation_2d(call: Call) -> None:
    """Largest sum of a window and a filter of its shape, channels last unless the format says."""
    x, taps = call.tensor(0), call.tensor(1)
    first = call.attribute("data_format", "NHWC") == "NCHW"
    strides = call.attribute("strides", [1, 1, 1, 1])
    shape = list(x.shape)
    for axis, stride in zip((2, 3) if first else (1, 2), strides[1:3], strict=True):
        shape[axis] = -(-shape[axis] // stride)
    depth = x.shape[1] if first else x.shape[-1]
    window = taps.numel() // max(depth, 1)
    out = call.empty(shape, x.dtype)
    call.elementwise([x, taps], [out], linear=2 * window + 2)


def _per_axis(value: Any, axes: int) -> list[int]:
    """Returns one number an axis; lists that name every side or the batch keep the last axes."""
    if isinstance(value, int):
        return [value] * axes
    numbers = [int(number) for number in value]
    if len(numbers) == 2 * axes:  # each axis's two sides
        return numbers[::2]
    return (numbers * axes)[:axes] if len(numbers) == 1 else numbers[-axes:]
