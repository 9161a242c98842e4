"""Gradient scaling for npu."""

import torch

__all__ = ["GradScaler"]


class GradScaler(torch.amp.GradScaler):
    """`torch.amp.GradScaler("npu", ...)`.

    Args:
        init_scale: the first scale.
        growth_factor: by what the scale grows after `growth_interval` steps without inf or nan.
        backoff_factor: by what it shrinks after a step with one.
        growth_interval: steps.
        dynamic: False keeps the scale at `init_scale`, as torch_npu's static scaling does.
        enabled: False makes every method pass its argument through.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        dynamic: bool = True,
        enabled: bool = True,
    ) -> None:
        """Makes a scaler for gradients on npu."""
        super().__init__(
            "npu",
            init_scale=init_scale,
            growth_factor=growth_factor,
            backoff_factor=backoff_factor,
            growth_interval=growth_interval,
            enabled=enabled,
        )
        self._dynamic = dynamic

    def update(self, new_scale: float | torch.Tensor | None = None) -> None:
        """Adjusts the scale for the next step; a static scale only changes to `new_scale`."""
        if self._dynamic or new_scale is not None or not self.is_enabled():
            super().update(new_scale)
            return
        super().update(self.get_scale())
