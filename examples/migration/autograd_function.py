"""A custom autograd function: x * sigmoid(1.702 x), the quick approximation of GELU."""

from typing import Any

import torch
from torch.cuda.amp import custom_bwd, custom_fwd


class QuickGelu(torch.autograd.Function):
    """Keeps its input and computes the gate again on the way back."""

    @staticmethod
    @custom_fwd(cast_inputs=torch.float32)
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Returns x times its gate."""
        ctx.save_for_backward(x)
        return x * torch.sigmoid(1.702 * x)

    @staticmethod
    @custom_bwd
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """Returns the gradient of x."""
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(1.702 * x)
        return grad * gate * (1 + 1.702 * x * (1 - gate))


def main() -> None:
    """Checks the gradient, then uses the function under autocast."""
    torch.cuda.manual_seed_all(0)
    x = torch.randn(4, 8, device="cuda", dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(QuickGelu.apply, x)
    print("the gradient is right")
    with torch.cuda.amp.autocast():
        y = QuickGelu.apply(x.half())
    y.sum().backward()
    print(f"{y.dtype}, gradient {x.grad.dtype} on {x.grad.device}, sum {x.grad.sum().item():.3f}")


if __name__ == "__main__":
    main()
