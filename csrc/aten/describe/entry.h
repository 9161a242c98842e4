// One line of a family's table: which operators share a describer.
#pragma once

#include <c10/util/ArrayRef.h>

#include <string_view>

#include "aten/describe/call.h"

namespace npu_sim::aten {

struct Entry {
  // "add": every overload, in-place and out= variant of the operator; "max.other": this overload.
  std::string_view name;
  Describer describer;
  // Kernels that the call launches after the first one; NoWork means that one was not needed.
  c10::ArrayRef<Describer> rest{};
};

using Entries = c10::ArrayRef<Entry>;

// Each family's table; those of one subject share a file.
[[nodiscard]] Entries activation_entries();
[[nodiscard]] Entries arithmetic_entries();
[[nodiscard]] Entries attention_entries();
[[nodiscard]] Entries complex_entries();
[[nodiscard]] Entries convolution_entries();
[[nodiscard]] Entries copy_entries();
[[nodiscard]] Entries factory_entries();
[[nodiscard]] Entries foreach_entries();
[[nodiscard]] Entries fourier_entries();
[[nodiscard]] Entries function_entries();
[[nodiscard]] Entries gather_entries();
[[nodiscard]] Entries linalg_entries();
[[nodiscard]] Entries logic_entries();
[[nodiscard]] Entries loss_entries();
[[nodiscard]] Entries matmul_entries();
[[nodiscard]] Entries norm_entries();
[[nodiscard]] Entries optimizer_entries();
[[nodiscard]] Entries pooling_entries();
[[nodiscard]] Entries quantized_entries();
[[nodiscard]] Entries random_entries();
[[nodiscard]] Entries reduction_entries();
[[nodiscard]] Entries resampling_entries();
[[nodiscard]] Entries scatter_entries();
[[nodiscard]] Entries softmax_entries();
[[nodiscard]] Entries sort_entries();
[[nodiscard]] Entries sparse_entries();
[[nodiscard]] Entries special_function_entries();
[[nodiscard]] Entries view_entries();

}  // namespace npu_sim::aten
