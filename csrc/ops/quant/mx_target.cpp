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

// The values of dst_type_max that scale_alg 2 knows: up to twice the element's largest.
void check_range(const char* op, Element element, const MxOptions& options) {
  const double least = compute::largest(element);
  TORCH_CHECK_VALUE(options.dst_type_max == 0 ||
                        (options.dst_type_max >= least && options.dst_type_max <= 2 * least),
                    op, ": expected dst_type_max of 0, or of ", least, " to ", 2 * least, ", got ",
                    options.dst_type_max);
}

// The algorithm that `element` knows beside 0; 0 where there is none.
std::int64_t other_algorithm(Element element, MxRanged ranged) {
  if (element == Element::kE4m3 || element == Element::kE5m2) return 1;
  const bool known =
      ranged == MxRanged::kFp4 || (ranged == MxRanged::kE2m1 && element == Element::kE2m1);
  return known ? 2 : 0;
}

MxScale scale_for(const char* op, Element element, const MxOptions& options) {
  const std::int64_t other = other_algorithm(element, options.ranged);
  TORCH_CHECK_VALUE(options.scale_alg == 0 || options.scale_alg == other, op,
                    ": expected scale_alg 0",
                    other == 0   ? ""
                    : other == 1 ? " or 1"
                                 : " or 2",
                    " with this dst_type, got ", options.scale_alg);
  if (options.scale_alg == 2) {
    check_range(op, element, options);
  } else {
    TORCH_CHECK_VALUE(options.dst_type_max == 0, op,
                      ": expected dst_type_max 0 unless scale_alg is 2, got ",
                      options.dst_type_max);
  }
  return options.scale_alg == 0 ? MxScale::kFloor : MxScale::kCeil;
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
          .rounding = rounding_for(op, element, options.round_mode),
          .largest = options.dst_type_max};
}

}  // namespace npu_sim::ops
