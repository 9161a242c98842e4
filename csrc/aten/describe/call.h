// One finished operator call as a describer sees it: arguments and results in schema order.
// Describers read shapes, dtypes and strides; of values only lengths and counts (values.h).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>

#include "model/work/work.h"

namespace npu_sim::aten {

struct Call {
  c10::ArrayRef<c10::IValue> arguments;
  c10::ArrayRef<c10::IValue> results;

  // Argument or result `index`; it must hold a tensor (an undefined one is allowed).
  [[nodiscard]] const at::Tensor& argument(std::size_t index) const {
    return arguments[index].toTensor();
  }
  [[nodiscard]] const at::Tensor& result(std::size_t index = 0) const {
    return results[index].toTensor();
  }
};

// Shapes of a finished call -> what the kernel asked of the machine.
using Describer = model::Work (*)(const Call&);

}  // namespace npu_sim::aten
