"""Regions of a graph with options. Eager execution has none, so they only nest."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["deterministic", "limit_core_num"]


@contextlib.contextmanager
def limit_core_num(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    """Would limit the cores of kernels in a graph; eagerly, use torch.npu.set_stream_limit."""
    yield


@contextlib.contextmanager
def deterministic(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    """Would ask for deterministic kernels; all here are."""
    yield
