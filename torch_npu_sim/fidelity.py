"""How closely the card is modelled, and its L2 between kernels."""

from torch_npu_sim import _C

__all__ = ["flush_l2", "get_fidelity", "set_fidelity"]


def get_fidelity() -> str:
    """Returns "roofline", "tile" or "dram": how kernels are timed now."""
    return _C.fidelity()


def set_fidelity(name: str) -> None:
    """Times kernels from now on at another fidelity; tensors, clocks and statistics stay.

    NPU_SIM_FIDELITY sets it before the program starts.

    Args:
        name: "roofline" (launch floor and the slowest peak), "tile" (the default: tiles, pipes of a
            core, L2 between kernels), or "dram" (tile, and device memory request by request: about
            20 ms of host time for each new pattern of traffic).

    Raises:
        ValueError: there is no such fidelity.
    """
    _C.set_fidelity(name)


def flush_l2(device: int | None = None) -> int:
    """Fills a card's L2 with clean foreign lines, as reading more than fits before a measurement.

    Takes no simulated time. Kernels launched from now on find nothing of theirs in L2.

    Args:
        device: index of the card; the current one if None.

    Returns:
        The dirty bytes that L2 held.

    Raises:
        ValueError: there is no such card.
    """
    return _C.flush_l2(_C.current_device() if device is None else device)
