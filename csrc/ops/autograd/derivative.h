// Makes an operator of torch_npu differentiable by a formula.
#pragma once

#include <torch/library.h>

#include <string_view>

namespace npu_sim::ops {

// `formula` as in formula.h. Called once an operator while the library loads; `name` and `formula`
// must be literals.
// Source of the formulas: Ascend/op-plugin@517f2e7d op_plugin/config/derivatives.yaml.
void derivative(torch::Library& library, const char* name, std::string_view formula);

}  // namespace npu_sim::ops
