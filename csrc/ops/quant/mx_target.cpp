// What the MX operators' arguments ask for, and what they may not.
#include <c10/util/Exception.h>

#include "ops/format/element_of.h"
#include "ops/quant/mx.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
using compute::Rounding;

Rounding rounding_for(const char* op, Element element, c10::string_view mode) {
  if (mode == "rint") return Rounding::kRint;
  const bool fp4 = element == Element::kE2m1 || element == Element::kE1m2;
  TORCH_CHECK_VALUE(fp4 && (mode == "floor" || mode == "round"), op,
                    ": expected round_mode rint (fp8), or rint, floor or round (fp4), got '", mode,
                    "'");
  return mode == "floor" ? Rounding::kFloor : Rounding::kRound;
}

MxScale scale_for(const char* op, Element element, const MxOptions& options) {
  TORCH_CHECK_VALUE(options.scale_alg >= 0 && options.scale_alg <= 2, op,
                    ": expected scale_alg 0, 1 or 2, got ", options.scale_alg);
  const bool fp8 = element == Element::kE4m3 || element == Element::kE5m2;
  TORCH_CHECK_NOT_IMPLEMENTED(options.scale_alg != 2, op,
                              ": scale_alg 2 is not built in torch_npu_sim yet; use 0");
  TORCH_CHECK_VALUE(options.scale_alg == 0 || fp8, op,
                    ": expected scale_alg 0 or 2 with a dst_type of fp4, got ", options.scale_alg);
  TORCH_CHECK_VALUE(options.dst_type_max == 0, op,
                    ": expected dst_type_max 0 unless scale_alg is 2, got ", options.dst_type_max);
  return options.scale_alg == 1 ? MxScale::kCeil : MxScale::kFloor;
}

}  // namespace

MxTarget mx_target(const char* op, const at::Tensor& input, const MxOptions& options) {
  TORCH_CHECK_TYPE(input.scalar_type() == at::kHalf || input.scalar_type() == at::kBFloat16, op,
                   ": expected input of float16 or bfloat16, got ", input.scalar_type());
  const Element element = require_element({.op = op, .argument = "dst_type"}, options.dst_type);
  const bool mx =
      element != Element::kInt8 && element != Element::kInt4 && element != Element::kHifloat8;
  TORCH_CHECK_VALUE(mx, op, ": expected dst_type of fp8 or fp4, got ", options.dst_type);
  return {.element = element,
          .scale = scale_for(op, element, options),
          .rounding = rounding_for(op, element, options.round_mode)};
}

}  // namespace npu_sim::ops
