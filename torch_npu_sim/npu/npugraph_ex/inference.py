"""Compiled functions that are kept on disk. Here nothing is compiled, so nothing is kept."""

from collections.abc import Callable
from typing import Any

__all__ = ["cache_compile", "readable_cache"]


def cache_compile(func: Callable[..., Any], **_options: Any) -> Callable[..., Any]:
    """Returns `func`: it runs eagerly, and any option is accepted."""
    return func


def readable_cache(cache_bin: str, *_args: Any, **_kwargs: Any) -> str:
    """Would show a compiled function.

    Raises:
        NotImplementedError: always; there is no such file.
    """
    raise NotImplementedError(f"readable_cache: expected a compiled graph, got none in {cache_bin}")
