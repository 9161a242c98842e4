"""Converters of operators to CANN's graphs: their names can be imported, and are never used."""

from typing import Any

from torchair.unused import Unused


def __getattr__(name: str) -> Any:
    """Returns a stand-in for any name."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Unused()
