// Element-wise arithmetic, comparisons, bit operations and elementary functions.
#include <cmath>

#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using model::Work;

// pow(self, exponent): an exponent that is a number picks the cheap routine, as torch does.
Work power(const Call& call) {
  constexpr int kLinear = 6;  // log2, multiply, exp2 with scaling, and the selects for signs
  constexpr int kSpecial = 2;
  const bool number = call.arguments.size() > 1 && call.arguments[1].isScalar();
  if (!number) return element_wise(call, kLinear, kSpecial);
  const c10::Scalar exponent = call.arguments[1].toScalar();
  if (exponent.isComplex()) return element_wise(call, kLinear, kSpecial);
  const double value = exponent.toDouble();
  const double magnitude = std::abs(value);
  const int reciprocal = value < 0 ? 1 : 0;
  if (magnitude == 0.5) return element_wise(call, 0, 1 + reciprocal);
  if (magnitude == 1 || magnitude == 2) return element_wise(call, 1, reciprocal);
  if (magnitude == 3) return element_wise(call, 2, reciprocal);
  return element_wise(call, kLinear, kSpecial);
}

// Counts a compare as one instruction (its mask is stored through a select that is another one
// only for wide results), a select as one, a rounding as one.
constexpr Entry kArithmetic[] = {
    {"add", elements<1>},
    {"_add_relu", elements<2>},
    {"sub", elements<1>},
    {"rsub", elements<1>},
    {"mul", elements<1>},
    {"div", elements<0, 1>},
    {"div.Tensor_mode", elements<1, 1>},
    {"div.Scalar_mode", elements<1, 1>},
    {"div.out_mode", elements<1, 1>},
    {"true_divide", elements<0, 1>},
    {"floor_divide", elements<1, 1>},
    {"fmod", elements<3, 1>},
    {"remainder", elements<6, 1>},
    {"neg", elements<1>},
    {"abs", elements<1>},
    {"sign", elements<2>},
    {"sgn", elements<2>},
    {"square", elements<1>},
    {"reciprocal", elements<0, 1>},
    {"maximum", elements<1>},
    {"minimum", elements<1>},
    {"max.other", elements<1>},
    {"min.other", elements<1>},
    {"fmax", elements<3>},
    {"fmin", elements<3>},
    {"clamp", elements<2>},
    {"clamp_max", elements<1>},
    {"clamp_min", elements<1>},
    {"ceil", elements<1>},
    {"floor", elements<1>},
    {"round", elements<1>},
    {"round.decimals", elements<2, 1>},
    {"trunc", elements<1>},
    {"frac", elements<2>},
    {"lerp", elements<2>},
    {"addcmul", elements<2>},
    {"addcdiv", elements<1, 1>},
    {"where", elements<1>},
    {"masked_fill", elements<1>},
    {"copysign", elements<2>},
    {"heaviside", elements<3>},
    {"nan_to_num", elements<6>},
    {"deg2rad", elements<1>},
    {"rad2deg", elements<1>},
    {"ldexp", elements<2>},
    {"frexp", elements<5>},
    {"nextafter", elements<8>},
    // Euclid on integers: as many steps of remainder as the values ask for. Between the shortest
    // and the longest of six measured cases (hicann/cann-bench@d59d44c), 37 to 240 issues an
    // element.
    {"gcd", elements<62, 15>},
    {"lcm", elements<64, 16>},
};

constexpr Entry kLogic[] = {
    {"eq", elements<1>},
    {"ne", elements<1>},
    {"lt", elements<1>},
    {"le", elements<1>},
    {"gt", elements<1>},
    {"ge", elements<1>},
    {"isnan", elements<1>},
    {"isinf", elements<2>},
    {"isfinite", elements<2>},
    {"isposinf", elements<1>},
    {"isneginf", elements<1>},
    {"isclose", elements<5>},
    {"signbit", elements<1>},
    {"logical_and", elements<3>},
    {"logical_or", elements<3>},
    {"logical_xor", elements<3>},
    {"logical_not", elements<1>},
    {"bitwise_and", elements<1>},
    {"bitwise_or", elements<1>},
    {"bitwise_xor", elements<1>},
    {"bitwise_not", elements<1>},
    {"bitwise_left_shift", elements<1>},
    {"bitwise_right_shift", elements<1>},
    {"__and__", elements<1>},
    {"__or__", elements<1>},
    {"__xor__", elements<1>},
    {"__iand__", elements<1>},
    {"__ior__", elements<1>},
    {"__ixor__", elements<1>},
    {"__lshift__", elements<1>},
    {"__rshift__", elements<1>},
    {"__ilshift__", elements<1>},
    {"__irshift__", elements<1>},
};

constexpr Entry kFunctions[] = {
    {"pow", power},
    {"float_power", elements<6, 2>},
    {"exp", elements<0, 1>},
    {"exp2", elements<1, 1>},
    {"expm1", elements<6, 1>},
    {"log", elements<0, 1>},
    {"log2", elements<1, 1>},
    {"log10", elements<1, 1>},
    {"log1p", elements<6, 1>},
    {"sqrt", elements<0, 1>},
    {"rsqrt", elements<0, 2>},
    {"hypot", elements<2, 1>},
    {"logaddexp", elements<10, 2>},
    {"logaddexp2", elements<12, 2>},
    {"xlogy", elements<3, 1>},
    // Cody-Waite reduction (6), polynomial (5), sign and quadrant selects (3).
    {"sin", elements<14>},
    {"cos", elements<14>},
    {"tan", elements<20, 1>},
    {"sinc", elements<17, 1>},
    {"asin", elements<12, 1>},
    {"acos", elements<12, 1>},
    {"atan", elements<14, 1>},
    {"atan2", elements<18, 1>},
    {"sinh", elements<4, 2>},
    {"cosh", elements<3, 2>},
    {"asinh", elements<5, 2>},
    {"acosh", elements<3, 2>},
    {"atanh", elements<4, 2>},
    // Clamp, then x P(x^2) / Q(x^2) of degrees 6 and 5.
    {"erf", elements<16, 1>},
    {"erfc", elements<18, 2>},
    {"erfinv", elements<30, 2>},
};

constexpr Entry kComplex[] = {
    {"complex", elements<2>},   {"polar", elements<30>},  // a sine and a cosine, two products
    {"angle", elements<18, 1>}, {"conj_physical", elements<1>}, {"_conj_physical", elements<1>},
};

}  // namespace

Entries arithmetic_entries() { return kArithmetic; }
Entries logic_entries() { return kLogic; }
Entries function_entries() { return kFunctions; }
Entries complex_entries() { return kComplex; }

}  // namespace npu_sim::aten
