"""What Inductor asks after transfer_to_npu, when torch.cuda seems to be there."""

import sys

__all__ = ["install"]


def _npu() -> str:
    """Stands for torch._inductor.utils.get_gpu_type."""
    return "npu"


def install() -> None:
    """Puts npu in the place of the GPU that Inductor would find, wherever it asks already."""
    for name, module in list(sys.modules.items()):
        if name.startswith("torch._inductor") and hasattr(module, "get_gpu_type"):
            setattr(module, "get_gpu_type", _npu)  # noqa: B010 (mypy knows no such attribute)
