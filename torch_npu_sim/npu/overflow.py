"""The overflow flag of older cards. An Ascend 950 has inf and nan instead, and no flag."""

from typing import NoReturn

__all__ = ["clear_npu_overflow_flag", "get_npu_overflow_flag"]


def _no_flag(caller: str) -> NoReturn:
    raise RuntimeError(
        f"torch.npu.{caller}: expected a card with an overflow flag, got one that computes with "
        "inf and nan; look for them with torch.isfinite"
    )


def get_npu_overflow_flag() -> NoReturn:
    """Would read the overflow flag.

    Raises:
        RuntimeError: the card has none.
    """
    _no_flag("get_npu_overflow_flag")


def clear_npu_overflow_flag() -> NoReturn:
    """Would clear the overflow flag.

    Raises:
        RuntimeError: the card has none.
    """
    _no_flag("clear_npu_overflow_flag")
