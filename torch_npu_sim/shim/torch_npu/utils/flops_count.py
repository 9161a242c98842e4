"""FLOP counts of a region of a program, by torch's own counter."""

from torch.utils.flop_counter import FlopCounterMode

__all__ = ["FlopsCounter"]


class FlopsCounter:
    """Counts the floating-point operations of products, convolutions and attention.

    torch's `FlopCounterMode` counts; `get_flops` returns [counted in all, counted since paused].
    """

    def __init__(self) -> None:
        """Makes a counter that has not started."""
        self._mode: FlopCounterMode | None = None
        self._earlier = 0

    def start(self) -> None:
        """Starts from zero."""
        self._leave()
        self._earlier = 0
        self.resume()

    def resume(self) -> None:
        """Goes on after a pause."""
        if self._mode is None:
            self._mode = FlopCounterMode(display=False)
            self._mode.__enter__()  # type: ignore[no-untyped-call]

    def pause(self) -> None:
        """Stops counting for a while."""
        self._earlier += self._leave()

    def stop(self) -> None:
        """Ends counting and forgets the count."""
        self._leave()
        self._earlier = 0

    def get_flops(self) -> list[int]:
        """Returns the operations that ran, twice: torch_npu counts recomputed ones apart."""
        running = 0 if self._mode is None else self._mode.get_total_flops()
        return [self._earlier + running] * 2

    def _leave(self) -> int:
        """Leaves torch's counter and returns what it counted."""
        if self._mode is None:
            return 0
        mode, self._mode = self._mode, None
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return mode.get_total_flops()
