"""Which cores a thread runs on. Simulated time does not depend on it, so nothing is bound."""

from collections.abc import Sequence

__all__ = ["reset_thread_affinity", "set_thread_affinity"]


def set_thread_affinity(core_range: Sequence[int] | None = None) -> None:
    """Would bind the calling thread to the cores [first, last].

    Raises:
        ValueError: `core_range` is not two numbers, the first not above the last.
    """
    if core_range is None:
        return
    if len(core_range) != 2 or core_range[0] > core_range[1] or core_range[0] < 0:
        raise ValueError(f"set_thread_affinity: expected [first, last], got {core_range}")


def reset_thread_affinity() -> None:
    """Would give the calling thread the main thread's cores."""
