"""Fixtures of the compilers' tests: a cache of their own, and no code left from other tests."""

import os
import warnings
from collections.abc import Iterator

import pytest

from torch_npu_sim import Kernel


@pytest.fixture(scope="session", autouse=True)
def inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes Inductor compile anew in every session: cached code would hide a broken generator."""
    previous = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))
    yield
    if previous is None:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    else:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = previous


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    """Starts every test without compiled code, and without torch's own deprecation warnings."""
    import torch

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def operators(kernels: list[Kernel]) -> list[str]:
    """Returns the names of what ran, in order."""
    return [kernel.op for kernel in kernels]
