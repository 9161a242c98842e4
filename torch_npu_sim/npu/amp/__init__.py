"""Automatic mixed precision on npu: torch.amp with the device filled in."""

from torch_npu_sim.npu.amp.autocast_mode import autocast, custom_bwd, custom_fwd
from torch_npu_sim.npu.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
