#include "ops/activation/gated_halves.h"

#include <c10/util/Exception.h>

#include "ops/precision.h"

namespace npu_sim::ops {

GatedHalves gated_halves(const char* op, const at::Tensor& input, std::int64_t dim,
                         bool gate_first) {
  TORCH_CHECK_TYPE(input.is_floating_point(), op, ": expected a floating dtype, got ",
                   input.scalar_type());
  TORCH_CHECK_INDEX(dim >= -input.dim() && dim < input.dim(), op, ": expected dim in [",
                    -input.dim(), ", ", input.dim() - 1, "], got ", dim);
  TORCH_CHECK_VALUE(input.size(dim) % 2 == 0, op, ": expected an even size along dim ", dim,
                    ", got input of ", input.sizes(), "; it holds gate and value side by side");
  const auto parts = widened(input).tensor_split(2, dim);
  return gate_first ? GatedHalves{parts[0], parts[1]} : GatedHalves{parts[1], parts[0]};
}

}  // namespace npu_sim::ops
