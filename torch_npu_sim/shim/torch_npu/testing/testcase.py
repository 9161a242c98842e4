"""The base class of torch_npu's tests."""

import unittest
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

import expecttest
import numpy as np
import torch

__all__ = ["TestCase", "run_tests"]

# What is added to a divisor, by torch_npu's rule of relative errors.
_SMALL = {np.dtype(np.float16): 6e-8}
_SMALL_OTHERWISE = 1e-9


def run_tests() -> None:
    """Runs the tests of the main module."""
    unittest.main()


class TestCase(expecttest.TestCase):
    """unittest's test case with torch_npu's comparisons of tensors."""

    precision = 1e-5
    exact_dtype = False

    def assertRtolEqual(  # noqa: N802 (torch_npu's name)
        self,
        x: Any,
        y: Any,
        prec: float = 1e-4,
        prec16: float = 1e-3,
        auto_trans_dtype: bool = False,
        message: str | None = None,
    ) -> None:
        """Fails if more than a share `prec` of the elements differs by more than `prec`.

        An element differs if both its absolute and its relative error are above the bound, which
        is `prec16` for 16-bit floats. Sequences are compared item by item.
        """
        if _is_sequence(x) and _is_sequence(y):
            for one, other in zip(x, y, strict=False):
                self.assertRtolEqual(one, other, prec, prec16, auto_trans_dtype, message)
            return
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            x = x.to(y.dtype) if auto_trans_dtype else x
            if x.dtype == y.dtype == torch.bfloat16:
                self.assertEqual(x.shape, y.shape, message)
                close = torch.allclose(x.cpu(), y.cpu(), rtol=prec16, atol=prec16)
                self.assertTrue(close, message or "bfloat16 values differ")
                return
        one, other = _as_array(x, y), _as_array(y, x)
        self.assertEqual(one.shape, other.shape, message)
        self.assertEqual(one.dtype, other.dtype, message)
        if one.dtype == np.bool_:
            self.assertTrue(bool(np.equal(one, other).all()), message or "values differ")
            return
        self._assert_few_differ(one, other, prec16 if one.dtype == np.float16 else prec, message)

    def _assert_few_differ(self, one: Any, other: Any, bound: float, message: str | None) -> None:
        absent = np.isnan(one)
        self.assertTrue(bool(np.equal(absent, np.isnan(other)).all()), message or "NaNs differ")
        with np.errstate(invalid="ignore"):
            error = np.where(absent | (one == other), 0, np.abs(other - one))
            size = np.maximum(np.abs(one), np.abs(other)) + _SMALL.get(one.dtype, _SMALL_OTHERWISE)
            too_far = ~(error <= bound)
            too_far_for_size = ~(error / size <= bound)
        allowed = one.size * bound
        wrong = too_far.sum() > allowed and too_far_for_size.sum() > allowed
        self.assertFalse(bool(wrong), message or f"{int(too_far.sum())} of {one.size} differ")

    def assertEqual(  # noqa: N802 (unittest's name)
        self,
        x: Any,
        y: Any,
        prec: float | str | None = None,
        message: str | None = "",
        allow_inf: bool = False,
        exact_dtype: bool | None = None,
    ) -> None:
        """As unittest's; tensors and numbers may differ by `prec`."""
        if isinstance(prec, str):
            prec, message = None, prec
        bound = self.precision if prec is None else prec
        if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor):
            exact = self.exact_dtype if exact_dtype is None else exact_dtype
            torch.testing.assert_close(
                torch.as_tensor(x).cpu(),
                torch.as_tensor(y).cpu(),
                rtol=0,
                atol=bound,
                equal_nan=True,
                check_dtype=exact,
                msg=message or None,
            )
        elif _is_number(x) and _is_number(y) and x != y:
            self.assertLessEqual(abs(x - y), bound, message)
        else:
            super().assertEqual(x, y, message)

    def assertExpectedRaises(  # noqa: N802 (torch_npu's name)
        self, kind: type[BaseException], call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Fails unless the call raises `kind`."""
        with self.assertRaises(kind):
            call(*args, **kwargs)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _as_array(value: Any, like: Any) -> Any:
    """Returns `value` as numpy, in the dtype of the tensor that it is compared with."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if _is_sequence(value) and isinstance(like, torch.Tensor):
        return torch.as_tensor(value, dtype=like.dtype).numpy()
    return np.asarray(value)
