// Values of integer tensors that say places, lengths or counts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/format/element_of.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {

using Integers = std::vector<std::int64_t>;

// The values of a CPU tensor of integers, in order.
[[nodiscard]] Integers integers_in(const at::Tensor& tensor);

// The same; raises TypeError, as by `name`, on another dtype than int32 and int64.
[[nodiscard]] Integers integers_of(ArgumentName name, const at::Tensor& tensor);

// The same of an optional argument; nullopt where it was not given.
[[nodiscard]] std::optional<Integers> integers_if_given(ArgumentName name,
                                                        const MaybeTensor& tensor);

}  // namespace npu_sim::ops
