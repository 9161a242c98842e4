#include "ops/integers.h"

#include <c10/util/Exception.h>

namespace npu_sim::ops {

Integers integers_in(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kLong).contiguous();
  const auto* const first = wide.const_data_ptr<std::int64_t>();
  return {first, first + wide.numel()};
}

Integers integers_of(ArgumentName name, const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kInt || tensor.scalar_type() == at::kLong, name.op,
                   ": expected ", name.argument, " of int32 or int64, got ", tensor.scalar_type());
  return integers_in(tensor);
}

std::optional<Integers> integers_if_given(ArgumentName name, const MaybeTensor& tensor) {
  return given(tensor) ? std::optional(integers_of(name, *tensor)) : std::nullopt;
}

}  // namespace npu_sim::ops
