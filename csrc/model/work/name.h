// The words reports and traces use for a Work: its kind, and a short text of its shape.
#pragma once

#include <string>
#include <string_view>

#include "model/work/work.h"

namespace npu_sim::model {

// Short kernel kind: "matmul", "vector", "row", "gather", "sort", "attention",
// "grouped_matmul", "convolution", "copy", "copy_h2d", "copy_d2h", "copy_peer", "host",
// "undescribed", "none".
[[nodiscard]] std::string_view name(const Work& work);

// Kind, shape and formats in one line: "matmul [4096, 128] @ [128, 512] bf16".
// Traffic that follows from the shape is left out; reports have columns for it.
[[nodiscard]] std::string to_text(const Work& work);

}  // namespace npu_sim::model
