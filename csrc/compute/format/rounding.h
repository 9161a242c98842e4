// How a number between two codes is rounded. Names are those of torch_npu's round_mode.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace npu_sim::compute {

enum class Rounding : std::uint8_t {
  kRint,   // to nearest, ties to even
  kRound,  // to nearest, ties away from zero
  kFloor,  // towards minus infinity
  kCeil,   // towards plus infinity
  kTrunc,  // towards zero
};

// "rint", "round", "floor", "ceil" or "trunc". Throws base::ValueError on any other name.
[[nodiscard]] Rounding rounding_of(std::string_view mode);

// `magnitude` >= 0 of a number with that sign, rounded to an integer. Exact below 2^23.
[[nodiscard]] inline float round_magnitude(float magnitude, bool negative, Rounding rounding) {
  switch (rounding) {
    case Rounding::kRint: return std::nearbyint(magnitude);
    case Rounding::kRound: return std::round(magnitude);
    case Rounding::kFloor: return negative ? std::ceil(magnitude) : std::floor(magnitude);
    case Rounding::kCeil: return negative ? std::floor(magnitude) : std::ceil(magnitude);
    case Rounding::kTrunc: return std::floor(magnitude);
  }
  return magnitude;
}

}  // namespace npu_sim::compute
