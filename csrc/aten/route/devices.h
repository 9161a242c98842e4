// The device rule: all tensors of a call lie on one npu, CPU scalars excepted.
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include "aten/route/operator.h"

namespace npu_sim::aten {

// The npu the call runs on: that of its tensors, else of its device or generator argument, else the
// current one. Throws as torch.cuda does when tensors lie on different devices.
[[nodiscard]] c10::Device common_device(const Operator& op, c10::ArrayRef<c10::IValue> arguments,
                                        const c10::FunctionSchema& schema);

}  // namespace npu_sim::aten
