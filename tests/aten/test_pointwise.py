"""Functions of one and two numbers at the edges: nan, infinities, signed zeros, wrap-around."""

import math

import pytest
import torch

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-45, 1e38, -1e38, math.inf, -math.inf, math.nan]
UNARY = (
    "abs acos acosh angle asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp "
    "exp2 expm1 floor frac i0 isfinite isinf isnan isneginf isposinf isreal lgamma log log10 log1p "
    "log2 logit nan_to_num neg positive rad2deg reciprocal relu round rsqrt sgn sigmoid sign "
    "signbit sin sinc sinh sqrt square tan tanh trunc"
).split()
SPECIAL = (
    "bessel_j0 bessel_j1 entr erfcx i0e i1 i1e log_ndtr modified_bessel_i0 ndtr ndtri "
    "spherical_bessel_j0"
).split()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_function_of_an_edge_equals_the_cpu(same, name, dtype) -> None:
    same(getattr(torch, name), torch.tensor(EDGES, dtype=dtype))
    same(getattr(torch, name), torch.tensor(EDGES, dtype=dtype)[::2])


@pytest.mark.parametrize("name", SPECIAL)
def test_special_function_of_an_edge_equals_the_cpu(same, name) -> None:
    same(getattr(torch.special, name), torch.tensor(EDGES))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("name", ["exp", "sqrt", "sin", "log", "sigmoid", "erf", "reciprocal"])
def test_function_of_integers_gives_floats_as_on_the_cpu(same, name, dtype) -> None:
    x = torch.tensor([0, 1, 1, 0, 1], dtype=dtype)
    assert same(getattr(torch, name), x).dtype == torch.float32


NUMBERS = [-7, -3, -1, 1, 2, 3, 7]
INTEGER = {
    "floor_divide": torch.floor_divide,
    "div_trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "gcd": torch.gcd,
    "lcm": torch.lcm,
    "and": torch.bitwise_and,
    "or": torch.bitwise_or,
    "xor": torch.bitwise_xor,
    "left": lambda a, b: a << b.abs(),
    "right": lambda a, b: a >> b.abs(),
    "pow": lambda a, b: a ** b.abs(),
    "true_divide": torch.true_divide,
    "maximum": torch.maximum,
    "heaviside": torch.heaviside,
    "copysign": torch.copysign,
    "lt": torch.lt,
    "mul_wraps": lambda a, b: (a * 100) * (b * 100),
}


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("call", INTEGER.values(), ids=INTEGER.keys())
def test_function_of_two_integers_equals_the_cpu(same, call, dtype) -> None:
    x = torch.tensor(NUMBERS, dtype=dtype)
    same(lambda x: call(x[:, None], x), x)
    same(lambda x: call(x, torch.full_like(x, 3)), x)


REAL = {
    "add": torch.add,
    "sub_alpha": lambda a, b: torch.sub(a, b, alpha=2),
    "mul": torch.mul,
    "div": torch.div,
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "div_trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "pow": torch.pow,
    "atan2": torch.atan2,
    "hypot": torch.hypot,
    "copysign": torch.copysign,
    "nextafter": torch.nextafter,
    "maximum": torch.maximum,
    "fmin": torch.fmin,
    "logaddexp": torch.logaddexp,
    "xlogy": torch.xlogy,
    "heaviside": torch.heaviside,
    "float_power": torch.float_power,
    "eq": torch.eq,
    "le": torch.le,
    "isclose": lambda a, b: torch.isclose(a, b, equal_nan=True),
    "logical_xor": torch.logical_xor,
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "clamp": lambda a, b: torch.clamp(a, min=b),
    "where": lambda a, b: torch.where(a > b, a, b),
}


@pytest.mark.parametrize("call", REAL.values(), ids=REAL.keys())
def test_function_of_two_edges_equals_the_cpu(same, call) -> None:
    x = torch.tensor(EDGES)
    same(lambda x: call(*torch.broadcast_tensors(x[:, None], x)), x)


@pytest.mark.parametrize("number", [2, -3, 0.5, 0, True], ids=str)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "remainder", "eq", "lt"])
def test_function_with_a_python_number_equals_the_cpu(same, name, number) -> None:
    if name == "sub" and number is True:
        pytest.skip("torch subtracts no bool")
    same(lambda x: getattr(torch, name)(x, number), torch.tensor(EDGES))
    if number > 0:  # integers know neither division by zero nor negative powers
        same(lambda x: getattr(torch, name)(x, number), torch.arange(1, 6))
    if name == "pow":
        same(lambda x: torch.pow(number, x), torch.tensor(EDGES))


REFUSED = {
    "integer_zero_division": lambda d: torch.ones(2, dtype=torch.int64, device=d) // 0,
    "integer_remainder": lambda d: torch.ones(2, dtype=torch.int64, device=d) % 0,
    "negative_integer_power": lambda d: torch.ones(2, dtype=torch.int64, device=d) ** -1,
    "subtract_bool": lambda d: torch.ones(2, dtype=torch.bool, device=d) - True,
    "negate_bool": lambda d: -torch.ones(2, dtype=torch.bool, device=d),
    "shapes": lambda d: torch.ones(2, device=d) + torch.ones(3, device=d),
    "order_complex": lambda d: torch.ones(2, dtype=torch.complex64, device=d) < 1,
    "bits_of_floats": lambda d: torch.ones(2, device=d) & torch.ones(2, device=d),
    "integer_inplace_division": lambda d: torch.ones(2, dtype=torch.int64, device=d).div_(2),
    "clamp_without_bounds": lambda d: torch.ones(2, device=d).clamp(),
    "alpha_of_integers": lambda d: torch.add(
        torch.ones(2, dtype=torch.int64, device=d), torch.ones(2, device=d).long(), alpha=1.5
    ),
    "rounding_mode": lambda d: torch.div(torch.ones(2, device=d), 2, rounding_mode="up"),
    "truth_of_several": lambda d: bool(torch.ones(2, device=d)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_computed_is_refused_in_the_words_of_the_cpu(npu, call) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises((RuntimeError, TypeError)) as error:
            call(device)
        texts.append((error.type, str(error.value)))
    assert texts[0] == texts[1]
