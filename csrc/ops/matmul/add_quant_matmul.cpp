// npu_add_quant_matmul: a gradient of weights summed over micro-batches, input + x1 @ x2.
// Source: npu_add_quant_matmul_ in the documentation of Ascend/op-plugin.
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <array>

#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_work.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

// --- work
model::Work describe_added(const aten::Call& call) {
  constexpr std::size_t kScaleDtype = 9;
  const Coded x1 = operand_at(call, 1, 6);
  const Coded x2 = operand_at(call, 2, 7);
  const MaybeInteger dtype = aten::integer_at(call, kScaleDtype, -1);
  if (is_e8m0_scale(aten::tensor_at(call, 3), dtype)) return product_work(call, x1, x2, true, {0});
  return product_work(call, x1, x2, false, {0, 3, 4});
}

constexpr aten::Entry kEntries[] = {{"npu_add_quant_matmul", describe_added}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Added {
  const char* op;
  const at::Tensor& input;
  Coded x1;
  Coded x2;
  const at::Tensor& x2_scale;
  at::Tensor x1_scale;
  at::IntArrayRef groups;
};

void check_added(const Added& call) {
  TORCH_CHECK_TYPE(call.input.scalar_type() == at::kFloat, call.op,
                   ": expected input of float32, got ", call.input.scalar_type());
  check_product(call.op, call.x1, call.x2);
  const std::array sizes{numbers_along(call.x1, -2), numbers_along(call.x2, -1)};
  TORCH_CHECK_VALUE(call.input.sizes() == at::IntArrayRef(sizes), call.op,
                    ": expected input of [m, n] = [", sizes[0], ", ", sizes[1], "], got ",
                    call.input.sizes());
  TORCH_CHECK_VALUE(call.groups.empty() || call.groups.size() == 3, call.op,
                    ": expected group_sizes of [m, n, k], got ", call.groups);
}

at::Tensor mx_part(const Added& call) {
  TORCH_CHECK_TYPE(is_fp8(call.x1) && is_fp8(call.x2), call.op,
                   ": expected x1 and x2 of fp8 with MX scales, got ", call.x1.codes.scalar_type(),
                   " and ", call.x2.codes.scalar_type());
  const bool fits = call.groups.empty() || (call.groups[0] <= 1 && call.groups[1] <= 1 &&
                                            (call.groups[2] == kMxGroup || call.groups[2] == 0));
  TORCH_CHECK_VALUE(fits, call.op, ": expected group_sizes of [1, 1, 32], got ", call.groups);
  const std::int64_t k = numbers_along(call.x1, -1);
  const Scales scales{
      .a = mx_factors_of_rows({call.op, "x1_scale"}, call.x1_scale, call.input.size(0), k),
      .b = mx_factors_of_columns({call.op, "x2_scale"}, call.x2_scale, k, call.input.size(1)),
      .group = kMxGroup,
      .powers_of_two = true};
  return scaled_product(call.x1, call.x2, scales);
}

at::Tensor tensor_part(const Added& call) {
  TORCH_CHECK_TYPE(call.x1.element == Element::kHifloat8 && call.x2.element == Element::kHifloat8,
                   call.op, ": expected x1 and x2 of hifloat8 with scales of float32, got ",
                   call.x1.codes.scalar_type(), " and ", call.x2.codes.scalar_type());
  const auto is_one = [](const at::Tensor& scale) {
    return scale.scalar_type() == at::kFloat && scale.sizes() == at::IntArrayRef{1};
  };
  TORCH_CHECK_VALUE(is_one(call.x1_scale) && is_one(call.x2_scale), call.op,
                    ": expected x1_scale and x2_scale of float32 and [1], got ",
                    call.x1_scale.sizes(), " and ", call.x2_scale.sizes());
  const bool fits = std::ranges::all_of(call.groups, [](std::int64_t size) { return size == 0; });
  TORCH_CHECK_VALUE(fits, call.op, ": expected group_sizes of [0, 0, 0], got ", call.groups);
  return scaled_product(call.x1, call.x2, {.a = call.x1_scale, .b = call.x2_scale});
}

at::Tensor sum_with_product(const Added& call, bool mx) {
  check_added(call);
  TORCH_CHECK_VALUE(call.x1_scale.defined(), call.op, ": expected x1_scale, got None");
  return call.input + (mx ? mx_part(call) : tensor_part(call));
}

bool both_powers(const char* op, const at::Tensor& a, MaybeInteger a_dtype, const at::Tensor& b,
                 MaybeInteger b_dtype) {
  const bool of_a = is_e8m0_scale(a, a_dtype);
  const bool of_b = is_e8m0_scale(b, b_dtype);
  TORCH_CHECK_TYPE(of_a == of_b, op,
                   ": expected x1_scale and x2_scale both of float8_e8m0fnu, or neither");
  return of_a;
}

at::Tensor add_quant_matmul(const at::Tensor& input, const at::Tensor& x1, const at::Tensor& x2,
                            const at::Tensor& x2_scale, const MaybeTensor& x1_scale,
                            at::OptionalIntArrayRef group_sizes, MaybeInteger x1_dtype,
                            MaybeInteger x2_dtype, MaybeInteger x1_scale_dtype,
                            MaybeInteger x2_scale_dtype) {
  constexpr const char* kOp = "npu_add_quant_matmul";
  const Added call{.op = kOp,
                   .input = input,
                   .x1 = {.codes = x1, .element = element_of(x1, x1_dtype)},
                   .x2 = {.codes = x2, .element = element_of(x2, x2_dtype)},
                   .x2_scale = x2_scale,
                   .x1_scale = or_undefined(x1_scale),
                   .groups = group_sizes.value_or(at::IntArrayRef{})};
  return sum_with_product(
      call, both_powers(kOp, call.x1_scale, x1_scale_dtype, x2_scale, x2_scale_dtype));
}

at::Tensor& add_quant_matmul_(at::Tensor& input, const at::Tensor& x1, const at::Tensor& x2,
                              const at::Tensor& x2_scale, const MaybeTensor& x1_scale,
                              at::OptionalIntArrayRef group_sizes, MaybeInteger x1_dtype,
                              MaybeInteger x2_dtype, MaybeInteger x1_scale_dtype,
                              MaybeInteger x2_scale_dtype) {
  return input.copy_(add_quant_matmul(input, x1, x2, x2_scale, x1_scale, group_sizes, x1_dtype,
                                      x2_dtype, x1_scale_dtype, x2_scale_dtype));
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&add_quant_matmul>(m, "npu_add_quant_matmul");
  composed_kernel<&add_quant_matmul_>(m, "npu_add_quant_matmul_");
}

}  // namespace
}  // namespace npu_sim::ops
