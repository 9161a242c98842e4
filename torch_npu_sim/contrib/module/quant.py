"""Linear layers and convolutions of quantised weights, over the card's operators."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import _pair

__all__ = ["LinearA8W8Quant", "LinearQuant", "LinearWeightQuant", "QuantConv2d"]


def _kept(wanted: bool, *shape: int, **options: Any) -> nn.Parameter | None:
    """Returns a parameter without a gradient, to be loaded, or None."""
    return nn.Parameter(torch.empty(shape, **options), requires_grad=False) if wanted else None


class LinearQuant(nn.Module):
    """int8 input times int8 weight [out, in], dequantised by `scale` [out]: npu_quant_matmul."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        offset: bool = False,
        pertoken_scale: bool = False,
        device: Any = None,
        dtype: Any = None,
        output_dtype: torch.dtype | None = None,
    ) -> None:
        """Makes parameters to be loaded; `device` and `dtype` are accepted, as there."""
        del device, dtype
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.output_dtype = output_dtype
        self.weight = _kept(True, out_features, in_features)
        self.scale = _kept(True, out_features)
        self.offset = _kept(offset, out_features, dtype=torch.float32)
        self.pertoken_scale = _kept(pertoken_scale, out_features, dtype=torch.float32)
        self.bias = _kept(bias, out_features, dtype=torch.int32)

    def forward(self, linear_quant_input: torch.Tensor) -> torch.Tensor:
        """Returns the product in `output_dtype`."""
        assert self.weight is not None and self.scale is not None
        scale: torch.Tensor = self.scale
        is_packed = self.output_dtype in (torch.bfloat16, torch.int32)
        if self.pertoken_scale is None and scale.dtype == torch.float32 and not is_packed:
            scale = torch.ops.npu.npu_trans_quant_param(scale, self.offset)
        product: torch.Tensor = torch.ops.npu.npu_quant_matmul(
            linear_quant_input,
            self.weight.transpose(-2, -1),
            scale,
            offset=self.offset,
            pertoken_scale=self.pertoken_scale,
            bias=self.bias,
            output_dtype=self.output_dtype,
        )
        return product


LinearA8W8Quant = LinearQuant


class LinearWeightQuant(nn.Module):
    """Input in 16 bits times a quantised weight [out, in]: npu_weight_quant_batchmatmul."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        antiquant_offset: bool = False,
        quant_scale: bool = False,
        quant_offset: bool = False,
        antiquant_group_size: int = 0,
        inner_precise: int = 0,
        weight_dtype: int | None = None,
    ) -> None:
        """Makes parameters to be loaded; `dtype` is accepted, as there."""
        del dtype
        super().__init__()
        self.weight = _kept(True, out_features, in_features, device=device)
        self.antiquant_scale = _kept(True, out_features, device=device)
        self.antiquant_offset = _kept(antiquant_offset, out_features, device=device)
        self.quant_scale = _kept(quant_scale, out_features, device=device)
        self.quant_offset = _kept(quant_offset, out_features, device=device)
        self.bias = _kept(bias, out_features, device=device)
        self.antiquant_group_size = antiquant_group_size
        self.inner_precise = inner_precise
        self.weight_dtype = weight_dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the product in the dtype of `x`."""
        assert self.weight is not None
        product: torch.Tensor = torch.ops.npu.npu_weight_quant_batchmatmul(
            x,
            self.weight.transpose(-1, -2),
            _groups_first(self.antiquant_scale),
            _groups_first(self.antiquant_offset),
            self.quant_scale,
            self.quant_offset,
            self.bias,
            self.antiquant_group_size,
            self.inner_precise,
            weight_dtype=self.weight_dtype,
        )
        return product


def _groups_first(scales: torch.Tensor | None) -> torch.Tensor | None:
    """Returns scales of groups [out, groups] as [groups, out]; others as they are."""
    return scales.transpose(-1, -2) if scales is not None and scales.dim() == 2 else scales


class QuantConv2d(nn.Module):
    """Convolution of a quantised input with a quantised weight: npu_quant_conv2d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        output_dtype: int,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        offset: bool = False,
        offset_x: int = 0,
        round_mode: str = "rint",
        input_dtype: int | None = None,
        weight_dtype: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Makes parameters to be loaded; `device` and `dtype` are accepted, as there."""
        del device, dtype
        super().__init__()
        if offset:
            raise ValueError("QuantConv2d: expected offset=False, got True")
        self.geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
        self.offset_x = offset_x
        self.round_mode = round_mode
        self.output_dtype = output_dtype
        self.input_dtype = input_dtype
        self.weight_dtype = weight_dtype
        self.weight = _kept(True, out_channels, in_channels // groups, *_pair(kernel_size))
        self.scale = _kept(True, out_channels, dtype=torch.int64)
        self.bias = _kept(bias, out_channels)

    def forward(self, quant_conv2d_input: torch.Tensor) -> torch.Tensor:
        """Returns the convolution in `output_dtype`."""
        assert self.scale is not None
        scale: torch.Tensor = self.scale
        if scale.dtype == torch.float32:
            scale = torch.ops.npu.npu_trans_quant_param(scale)
        convolved: torch.Tensor = torch.ops.npu.npu_quant_conv2d(
            quant_conv2d_input,
            self.weight,
            scale,
            *self.geometry,
            self.offset_x,
            self.round_mode,
            self.output_dtype,
            self.bias,
            None,
            self.input_dtype,
            self.weight_dtype,
        )
        return convolved
