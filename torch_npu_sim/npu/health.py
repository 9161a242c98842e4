"""The state of a card: how busy it is, stopping it, and the checks for faults it cannot have."""

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _checked_index

__all__ = [
    "check_uce_in_memory",
    "restart_device",
    "stop_device",
    "stress_detect",
    "utilization",
]

_SUCCESS = 0


def utilization(device: DeviceLike = None) -> int:
    """Returns the percentage of time in which kernels ran on the card, 0 to 100.

    The time is the host's simulated time since the last call for the card; the first call looks
    back to the start.

    Raises:
        AssertionError: there is no such card.
    """
    return _C.utilization(_checked_index(device))


def stop_device(device_id: int) -> int:
    """Stops a card: until `restart_device`, launches on it raise a RuntimeError (FORCE STOP).

    What was launched before keeps its values and ends at its time. Returns 0, for success.

    Raises:
        AssertionError: there is no such card.
    """
    _C.stop_device(_checked_index(device_id))
    return _SUCCESS


def restart_device(device_id: int, rebuild_all_resources: int = 0) -> None:
    """Lets a stopped card run again; memory, streams and events are as they were.

    Args:
        device_id: the card.
        rebuild_all_resources: accepted; a simulated card loses no resources when it stops.

    Raises:
        AssertionError: there is no such card.
    """
    del rebuild_all_resources
    _C.restart_device(_checked_index(device_id))


def check_uce_in_memory(device_id: int) -> int:
    """Returns 0, for no uncorrectable error: a simulated card's memory has no faults.

    Raises:
        AssertionError: there is no such card.
    """
    _checked_index(device_id)
    return _SUCCESS


def stress_detect() -> int:
    """Returns 0, for a healthy card: a simulated one has no hardware that could fail a test."""
    _checked_index(None)
    return _SUCCESS
