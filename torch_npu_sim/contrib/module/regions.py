"""Pooling over regions and deformable convolution: modules over operators of the card."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import _pair

__all__ = ["DCNv2", "ModulatedDeformConv", "PSROIPool", "ROIAlign"]


class _RoiAlign(torch.autograd.Function):
    """The operator and its gradient."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, rois: torch.Tensor, options: Any) -> Any:
        (height, width), scale, samples, mode = options
        ctx.save_for_backward(rois)
        ctx.shape, ctx.options = features.shape, options
        return torch.ops.npu.npu_roi_align(features, rois, scale, height, width, samples, mode)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (height, width), scale, samples, mode = ctx.options
        (rois,) = ctx.saved_tensors
        grad = torch.ops.npu.npu_roi_alignbk(
            grads[0], rois, ctx.shape, height, width, scale, samples, mode
        )
        return grad, None, None


class ROIAlign(nn.Module):
    """Pools regions [n, 5] of features [b, c, h, w] to one size."""

    def __init__(
        self, output_size: Any, spatial_scale: float, sampling_ratio: int, aligned: bool = True
    ) -> None:
        """Takes the pooled size, the features' scale, samples a bin, and whether pixels shift."""
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input_tensor: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Returns [n, c, height, width]."""
        if rois.dim() != 2 or rois.size(1) != 5:
            raise ValueError(f"ROIAlign: expected rois [n, 5], got {tuple(rois.shape)}")
        mode = 3 if self.aligned else 0
        options = (self.output_size, self.spatial_scale, self.sampling_ratio, mode)
        pooled: torch.Tensor = _RoiAlign.apply(  # type: ignore[no-untyped-call]
            input_tensor.float(), rois, options
        )
        return pooled


class PSROIPool(nn.Module):
    """Position-sensitive pooling: on an Ascend 950 its operator raises, as there."""

    def __init__(
        self,
        pooled_height: int = 7,
        pooled_width: int = 7,
        spatial_scale: float = 1 / 16.0,
        group_size: int = 7,
        output_dim: int = 22,
    ) -> None:
        """Takes one size three times, the features' scale and the channels of the result."""
        super().__init__()
        if not pooled_height == pooled_width == group_size:
            raise ValueError(
                "PSROIPool: expected pooled_height, pooled_width and group_size to be equal, "
                f"got {pooled_height}, {pooled_width}, {group_size}"
            )
        self.group_size = group_size
        self.spatial_scale = spatial_scale
        self.output_dim = output_dim

    def forward(self, features: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Calls the operator."""
        pooled: torch.Tensor = torch.ops.npu.npu_ps_roi_pooling(
            features, rois, self.spatial_scale, self.group_size, self.output_dim
        )
        return pooled


class ModulatedDeformConv(nn.Module):
    """Deformable convolution (DCNv2): offsets and masks are computed from the input, or given."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
        pack: bool = True,
    ) -> None:
        """Takes what a convolution takes; without `pack` the input is (x, offset, mask)."""
        super().__init__()
        self.in_channels = in_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.pack = pack
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *self.kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        places = deformable_groups * self.kernel_size[0] * self.kernel_size[1]
        self.split_num = 2 * places
        if pack:
            self.conv_offset = nn.Conv2d(
                in_channels, 3 * places, self.kernel_size, _pair(stride), _pair(padding)
            )
        self.init_param()

    def init_param(self) -> None:
        """Draws weights as nn.Conv2d once did; offsets start at zero."""
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.pack:
            nn.init.zeros_(self.conv_offset.weight)
            if self.conv_offset.bias is not None:
                nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Any) -> torch.Tensor:
        """Calls the operator; it takes all vertical offsets first, then all horizontal ones."""
        if self.pack:
            moved = self.conv_offset(x)
            offset, mask = moved[:, : self.split_num], moved[:, self.split_num :].sigmoid()
        else:
            x, offset, mask = x
        placed = torch.cat([offset[:, 1::2], offset[:, ::2], mask], 1).float()
        result, _ = torch.ops.npu.npu_deformable_conv2d(
            x.float(),
            self.weight,
            placed,
            self.bias,
            kernel_size=[self.kernel_size[1], self.kernel_size[0]],
            stride=[1, 1, self.stride, self.stride],
            padding=[self.padding] * 4,
            dilation=[1, 1, self.dilation, self.dilation],
            groups=self.groups,
            deformable_groups=self.deformable_groups,
            modulated=True,
        )
        convolved: torch.Tensor = result
        return convolved


DCNv2 = ModulatedDeformConv
