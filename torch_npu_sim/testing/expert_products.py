"""Products of rows by the matrices of their experts, in bf16 or an MX format."""

from typing import Any

import torch
from torch import nn

import torch_npu_sim
from torch_npu_sim.testing.reference import quant

__all__ = ["FORMATS", "ExpertProducts", "experts_error", "format_error"]

_E4M3, _E8M0, _E2M1 = 24, 293, 296
# dst_type of npu_dynamic_mx_quant.
FORMATS = {"bf16": None, "mxfp8": _E4M3, "mxfp4": _E2M1}


class ExpertProducts(nn.Module):
    """npu_grouped_matmul by fixed weights; rows are quantised as the weights are."""

    def __init__(self, weights: torch.Tensor, form: str) -> None:
        """Takes weights [experts, n, k] in bf16 on npu, and a key of `FORMATS`."""
        super().__init__()
        self.code, self.form = FORMATS[form], dict[str, Any]()
        if self.code is None:
            self.weights = weights.transpose(1, 2)
            return
        codes, scale = torch_npu_sim.npu_dynamic_mx_quant(weights, dst_type=self.code)
        self.weights = codes.transpose(1, 2)
        self.form = {
            "scale": [scale.transpose(1, 2)],
            "scale_dtype": _E8M0,
            "per_token_scale_dtype": _E8M0,
            "output_dtype": torch.bfloat16,
        }
        if self.code == _E2M1:  # which torch carries as bytes
            self.form |= {"x_dtype": _E2M1, "weight_dtype": _E2M1}

    def __len__(self) -> int:
        """The number of experts."""
        return len(self.weights)

    def forward(self, rows: torch.Tensor, groups: dict[str, Any]) -> torch.Tensor:
        """Takes rows [m, k] in bf16 and how they are grouped, returns [m, n] in bf16."""
        form = dict(self.form)
        if self.code is not None:
            rows, scale = torch_npu_sim.npu_dynamic_mx_quant(rows, dst_type=self.code)
            form["per_token_scale"] = [scale]
        (out,) = torch_npu_sim.npu_grouped_matmul([rows], [self.weights], **form, **groups)
        return torch.as_tensor(out)


def format_error(values: torch.Tensor, form: str) -> float:
    """Returns the norm of what a format of `FORMATS` loses of `values`, over their norm."""
    code = FORMATS[form]
    if code is None:
        return 0.0
    codes, scale = torch_npu_sim.npu_dynamic_mx_quant(values, dst_type=code)
    elements = quant.decode_e2m1(codes.cpu()) if code == _E2M1 else codes.cpu().float()
    back = quant.mx_dequantize(elements, scale.cpu(), -1)
    wide = values.cpu().float()
    return float((back - wide).norm() / wide.norm())


def experts_error(weights: torch.Tensor, form: str) -> float:
    """Returns the relative error that a format makes in the result of experts.

    With an error e in each operand, independent of one another: a product of two has e sqrt(2);
    SwiGLU multiplies two results of it, one through silu, whose slope is at most 1.1: 1.1 * 2 e;
    the second product adds e for its rows and e for its weights: sqrt(2.2^2 + 2) e = 2.6 e.
    """
    return 2.6 * format_error(weights, form)
