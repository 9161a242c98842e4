"""Stand-ins for what only a compiled graph would use."""

from collections.abc import Callable
from typing import Any

__all__ = ["Unused", "accept", "keep"]


def accept(*_args: Any, **_kwargs: Any) -> None:
    """Does nothing: what the call prepares is for compiled graphs only."""


def keep(*_args: Any, **_kwargs: Any) -> Callable[[Any], Any]:
    """Returns a decorator that changes nothing."""
    return lambda function: function


class Unused:
    """Stands for a name that converters of graphs use: it can be called and has any attribute."""

    def __call__(self, *_args: Any, **_kwargs: Any) -> "Unused":
        """Returns itself."""
        return self

    def __getattr__(self, name: str) -> "Unused":
        """Returns itself, but has no special methods."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self
