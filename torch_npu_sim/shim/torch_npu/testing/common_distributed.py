"""Which of torch_npu's tests need several cards."""

import functools
import unittest
from collections.abc import Callable
from typing import Any

from torch_npu_sim import npu

__all__ = ["skipIfUnsupportMultiNPU"]


def skipIfUnsupportMultiNPU(  # noqa: N802 (torch_npu's name)
    npu_number_needed: int,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a test: it is skipped where there are fewer cards."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def guarded(case: Any, *args: Any, **kwargs: Any) -> Any:
            if npu.device_count() < npu_number_needed:
                raise unittest.SkipTest(f"Multi-NPU {npu_number_needed} condition not satisfied")
            return test(case, *args, **kwargs)

        return guarded

    return decorate
