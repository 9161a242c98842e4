"""Fixtures of the compilers' tests: a cache of their own, and no code left from other tests."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import torch_npu_sim
from torch_npu_sim import Kernel


@pytest.fixture(scope="session", autouse=True)
def inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes Inductor compile anew in every session: cached code would hide a broken generator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        # Takes what /proc/cpuinfo says of vector instructions, without compiling a probe for each.
        patch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")
        patch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
        yield


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    """Starts every test without compiled code, and without torch's own deprecation warnings."""
    import torch

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
    torch._dynamo.reset()  # it holds the tensors of the code it has compiled


@pytest.fixture
def launches() -> Callable[..., list[Kernel]]:
    """Calls a compiled function twice, and returns the kernels of the second call."""

    def call(compiled: Callable[..., Any], *args: Any) -> list[Kernel]:
        compiled(*args)
        with torch_npu_sim.trace() as trace:
            compiled(*args)
        return trace.kernels

    return call
