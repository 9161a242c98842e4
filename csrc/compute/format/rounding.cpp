#include "compute/format/rounding.h"

#include <string>

#include "base/error.h"

namespace npu_sim::compute {

Rounding rounding_of(std::string_view mode) {
  if (mode == "rint") return Rounding::kRint;
  if (mode == "round") return Rounding::kRound;
  if (mode == "floor") return Rounding::kFloor;
  if (mode == "ceil") return Rounding::kCeil;
  if (mode == "trunc") return Rounding::kTrunc;
  throw base::ValueError("round_mode: expected rint, round, floor, ceil or trunc, got '" +
                         std::string(mode) + "'");
}

}  // namespace npu_sim::compute
