// The scales of a call of inference attention: which ones there must be, and what they multiply.
#pragma once

#include "ops/attention/infer_call.h"
#include "ops/attention/kv_scale.h"

namespace npu_sim::ops {

struct KvScales {
  KvScale scale;
  KvScale offset;
};

// Raises ValueError or TypeError, as by the operator, unless scales and formats fit each other:
// keys and values alone quantised, int8 operands with a scale a product, or quantised operands with
// scales of each.
void check_scales(const InferCall& call, const InferSizes& sizes, const InferFormats& formats);

// Of quantised queries, [batch, heads, queries, 1] in fp32; undefined where they have none.
[[nodiscard]] at::Tensor query_scale(const InferCall& call, const InferSizes& sizes);

// Of keys and values; undefined ones where they are wide.
[[nodiscard]] KvScales key_scales(const InferCall& call, const InferSizes& sizes,
                                  const InferFormats& formats, const Placement& placement);
[[nodiscard]] KvScales value_scales(const InferCall& call, const InferSizes& sizes,
                                    const InferFormats& formats, const Placement& placement);

// The dtype that decoded keys are rounded to: query's where they alone are quantised, else fp32
// (none).
[[nodiscard]] at::ScalarType rounding_of_keys(const InferCall& call, const InferFormats& formats);

// What scores are multiplied by besides the scale: 1, or that of int8 operands.
[[nodiscard]] float product_scale(const InferCall& call);

// A scale or offset of the result, fp32, that broadcasts against [batch, heads, queries, width].
[[nodiscard]] at::Tensor out_parameter(const InferCall& call, const InferSizes& sizes,
                                       const at::Tensor& parameter, const char* argument);

}  // namespace npu_sim::ops
