// Work in words, for tables and traces.
#pragma once

#include <string>

#include "model/work/work.h"

namespace npu_sim::python {

// One line without a newline: "[64, 512] @ [512, 1024] bf16".
[[nodiscard]] std::string text(const model::Work& work);

}  // namespace npu_sim::python
