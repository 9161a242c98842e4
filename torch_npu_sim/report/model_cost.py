"""Times of works that nobody launched, on the chip in use."""

from typing import Any

from torch_npu_sim import _C

__all__ = ["alone_us", "eager_call_us"]

_PS_PER_US = 1_000_000


def alone_us(works: list[dict[str, Any]]) -> float:
    """Returns the time of kernels one after the other, each alone on a card whose L2 is cold."""
    # All numbers of the chip in use, so that a user's own chip needs no name.
    numbers = {name: value for name, value, _, _ in _C.chip_parameters()}
    base = _C.chip()["name"]
    if base not in _C.chip_names():
        base = _C.chip_names()[0]
    return sum(float(_C.cost(work, base, numbers)["alone_ps"]) for work in works) / _PS_PER_US


def eager_call_us() -> float:
    """Returns the host's time of launching one kernel on the chip in use."""
    return (
        next(value for name, value, _, _ in _C.chip_parameters() if name == "host_eager_op_ns")
        / 1e3
    )
