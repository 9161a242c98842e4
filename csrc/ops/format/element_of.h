// The number formats as torch_npu's integer arguments name them. A tensor of torch_npu's own
// formats is uint8 (or int32 for packed int4), so an operator is told what the bytes mean.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "base/format.h"
#include "compute/format/element.h"

namespace npu_sim::ops {

// Who asks, for the error text.
struct ArgumentName {
  const char* op;
  const char* argument;
};

// The format of a dtype argument: a c10::ScalarType (1, 12: int8; 16: int4; 23: E5M2; 24: E4M3;
// 45: E2M1) or 256 + aclDataType (258, 285, 290: HiFloat8, 291, 292, 296, 297: E1M2).
// nullopt for a dtype that is none of these (bf16, say).
// Source: torch_npu/csrc/custom_dtype/Init.h of Ascend/pytorch.
[[nodiscard]] std::optional<compute::Element> element_of(std::int64_t dtype);

// The same where nothing but a narrow format will do: raises ValueError on any other dtype.
[[nodiscard]] compute::Element require_element(ArgumentName name, std::int64_t dtype);

// The format of a tensor's elements: what `dtype` says, else what the tensor's own dtype says;
// int32 means int4 packed by eight. nullopt for wide floats and other integers.
[[nodiscard]] std::optional<compute::Element> element_of(const at::Tensor& tensor,
                                                         std::optional<std::int64_t> dtype);

// Whether `dtype` names E8M0, the scale of an MX block: 44 or 293.
[[nodiscard]] bool is_e8m0(std::optional<std::int64_t> dtype);

// The torch dtype that carries codes of `element`: torch's own where it has one, else uint8.
[[nodiscard]] at::ScalarType carrier(compute::Element element);

// How a Work calls the format.
[[nodiscard]] base::Format format_of(compute::Element element);

}  // namespace npu_sim::ops
