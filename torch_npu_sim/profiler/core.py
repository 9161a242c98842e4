"""Which part of the card ran a kernel, by the names of msprof's task types."""

from torch_npu_sim.report import Kernel

__all__ = ["has_cube", "has_vector", "is_on_core", "task_type"]

_CUBE, _VECTOR, _MIXED = "AI_CORE", "AI_VECTOR_CORE", "MIX_AIC"


def task_type(kernel: Kernel) -> str:
    """Returns where the kernel ran: the cube cores, the vector cores, both, or neither."""
    if kernel.name == "host":
        return "HOST"  # an operator that the card lacks; msprof knows no such task
    if "link" in kernel.pipes:
        return "MEMCPY_ASYNC"
    if "cube" not in kernel.pipes:
        return _VECTOR
    return _MIXED if "vector" in kernel.pipes else _CUBE


def has_cube(kernel: Kernel) -> bool:
    """Returns whether the kernel used the cube cores."""
    return task_type(kernel) in (_CUBE, _MIXED)


def has_vector(kernel: Kernel) -> bool:
    """Returns whether the kernel used the vector cores."""
    return task_type(kernel) in (_VECTOR, _MIXED)


def is_on_core(kernel: Kernel) -> bool:
    """Returns whether the kernel ran on cores of the card: no copy by the host's link, no host."""
    return has_cube(kernel) or has_vector(kernel)
