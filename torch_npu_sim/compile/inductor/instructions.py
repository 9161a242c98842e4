"""Vector instructions of Inductor's operations, counted as csrc/aten/describe counts ATen's.

One fused multiply-add is one full-rate instruction; exp, log, division, square root and their
reciprocals are special ones (a quarter of the rate). A function without an instruction of its own
is its range reduction, its polynomial and its selects. A number here and the number of the same
operator there are the same number; a test compares the kernels.
"""

from typing import NamedTuple

__all__ = ["Instructions", "instructions_of", "is_known", "reduction_instructions"]


class Instructions(NamedTuple):
    """How many an element."""

    linear: int = 0
    special: int = 0

    def __add__(self, other: object) -> "Instructions":
        """Returns the sum, count by count."""
        if not isinstance(other, Instructions):
            return NotImplemented
        return Instructions(self.linear + other.linear, self.special + other.special)


# No instruction: addresses, moves that a load or store already is, checks that Inductor proves.
_FREE = (
    "constant",
    "load",
    "store",
    "store_reduction",
    "reduction",  # counted by its kind
    "get_index",
    "load_seed",
    "identity",
    "to_dtype_bitcast",
    "indirect_indexing",
    "check_bounds",
    "device_assert_async",
    "output",
    "placeholder",
    "masked",  # its select is counted, and so is its body
    "partial_accumulate",
)
_ONE = (
    "abs add sub mul neg square relu minimum maximum where to_dtype index_expr value_expr "
    "ceil floor round trunc trunc_to_int ceil_to_int floor_to_int round_to_int isnan signbit "
    "eq ne lt gt le ge bitwise_and bitwise_not bitwise_or bitwise_xor bitwise_left_shift "
    "bitwise_right_shift and_ or_ xor lshift rshift logical_not fma mul_rn halide_clamp dot"
).split()
_COUNTS: dict[str, tuple[int, int]] = {
    "isinf": (2, 0),
    "sign": (2, 0),
    "copysign": (2, 0),
    "logical_and": (3, 0),
    "logical_or": (3, 0),
    "logical_xor": (3, 0),
    "truediv": (0, 1),
    "div_rn": (0, 1),
    "int_truediv": (0, 1),
    "reciprocal": (0, 1),
    "truncdiv": (1, 1),
    "floordiv": (1, 1),
    "fmod": (3, 1),
    "mod": (3, 1),
    "remainder": (6, 1),
    "sqrt": (0, 1),
    "rsqrt": (0, 2),
    "exp": (0, 1),
    "exp2": (1, 1),
    "expm1": (6, 1),
    "log": (0, 1),
    "log2": (1, 1),
    "log10": (1, 1),
    "log1p": (6, 1),
    "pow": (6, 2),
    "sigmoid": (2, 2),
    "tanh": (5, 2),
    "sin": (14, 0),
    "cos": (14, 0),
    "tan": (20, 1),
    "asin": (12, 1),
    "acos": (12, 1),
    "atan": (14, 1),
    "atan2": (18, 1),
    "sinh": (4, 2),
    "cosh": (3, 2),
    "asinh": (5, 2),
    "acosh": (3, 2),
    "atanh": (4, 2),
    "erf": (16, 1),
    "erfc": (18, 2),
    "erfinv": (30, 2),
    "erfcx": (30, 2),
    "hypot": (2, 1),
    "frexp": (5, 0),
    "ldexp": (2, 0),
    "nextafter": (8, 0),
    "ndtr": (18, 1),
    "ndtri": (40, 3),
    "log_ndtr": (30, 3),
    "spherical_bessel_j0": (17, 1),
}
_BESSEL = (60, 3)
_BESSEL_NAMES = (
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 i0 i0e i1 i1e modified_bessel_i0 "
    "modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 "
    "scaled_modified_bessel_k1"
).split()
_RECURRENCE = (96, 1)
_RECURRENCE_NAMES = [
    *(
        f"{kind}_polynomial_{letter}"
        for letter in "tuvw"
        for kind in ("chebyshev", "shifted_chebyshev")
    ),
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
]
_GAMMA = (40, 4)
_INCOMPLETE_GAMMA = (200, 20)
_INCOMPLETE_GAMMA_NAMES = "igamma igammac gammainc gammaincc polygamma zeta".split()
# Philox as a vector kernel runs it; a normal number is two of it with a logarithm and a sine.
_UNIFORM = (28, 0)
_NORMAL = (44, 1)

_TABLE: dict[str, Instructions] = {
    **dict.fromkeys(_FREE, Instructions()),
    **dict.fromkeys(_ONE, Instructions(1)),
    **{name: Instructions(*count) for name, count in _COUNTS.items()},
    **dict.fromkeys(_BESSEL_NAMES, Instructions(*_BESSEL)),
    **dict.fromkeys(_RECURRENCE_NAMES, Instructions(*_RECURRENCE)),
    **dict.fromkeys(("lgamma", "digamma"), Instructions(*_GAMMA)),
    **dict.fromkeys(_INCOMPLETE_GAMMA_NAMES, Instructions(*_INCOMPLETE_GAMMA)),
    **dict.fromkeys(("rand", "rand_eager", "randint64"), Instructions(*_UNIFORM)),
    "randn": Instructions(*_NORMAL),
    # A binary search: the steps depend on the boundaries; 16 of compare and select are taken.
    "bucketize": Instructions(32),
}

# Instructions an element of what a reduction accumulates, and cross-lane reductions a row.
_REDUCTIONS: dict[str, tuple[Instructions, int]] = {
    **dict.fromkeys(("sum", "prod", "max", "min", "dot", "xor_sum"), (Instructions(1), 1)),
    "any": (Instructions(2), 1),
    **dict.fromkeys(("argmax", "argmin", "argmax_value", "argmin_value"), (Instructions(2), 1)),
    **dict.fromkeys(("argmax_with_value", "argmin_with_value"), (Instructions(2), 1)),
    # A mean and a sum of squares, as var_mean has it.
    "welford_reduce": (Instructions(4), 2),
    "welford_combine": (Instructions(4), 2),
    "online_softmax_reduce": (Instructions(3, 1), 2),
}


def reduction_instructions(kind: str) -> tuple[Instructions, int]:
    """Returns the instructions an element, and the cross-lane reductions a row, of a reduction."""
    return _REDUCTIONS[kind]


def is_known(name: str) -> bool:
    """Returns whether an operation of Inductor's has a count of its own."""
    return name in _TABLE


def instructions_of(name: str) -> Instructions:
    """Returns the instructions an element of an operation of Inductor's.

    Raises:
        NotImplementedError: the operation has no count, so its time would be missing.
    """
    found = _TABLE.get(name)
    if found is None:
        raise NotImplementedError(
            f"torch.compile on npu: expected an operation with an instruction count, got {name!r}; "
            'compile with backend="aot_eager", and report the name'
        )
    return found
