// Rows quantised by their own largest magnitude, as the MLA prolog does it between its products.
#pragma once

#include <ATen/core/Tensor.h>

#include "compute/format/element.h"

namespace npu_sim::ops {

struct QuantisedRows {
  at::Tensor codes;   // as `x`, in the carrier of the element
  at::Tensor scale;   // codes times scale are the values
  at::Tensor values;  // fp32 of the codes, without the scale
};

// One fp32 scale along the last axis, which becomes 1: the largest magnitude, times `clip`, over
// the element's largest. A row of zeros has scale 0 and codes 0.
[[nodiscard]] QuantisedRows quantised_rows(const char* op, const at::Tensor& x,
                                           compute::Element element, double clip = 1);

// MX: an E8M0 scale a block of 32 along the last axis (which must divide), the exponent of its
// largest magnitude less that of the element's largest. `values` are scaled already.
// Source: op-plugin@517f2e7d, dynamic_mx_quant_cq of test_mla_prolog_v3.py.
[[nodiscard]] QuantisedRows mx_quantised_rows(const char* op, const at::Tensor& x,
                                              compute::Element element);

// Values of MX codes [rows, columns] with scales [rows, columns / 32].
[[nodiscard]] at::Tensor mx_values(const at::Tensor& codes, compute::Element element,
                                   const at::Tensor& scale);

inline constexpr std::int64_t kMxBlock = 32;

}  // namespace npu_sim::ops
