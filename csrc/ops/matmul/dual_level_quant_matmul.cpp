// npu_dual_level_quant_matmul: fp4 by fp4 with a power of two for 32 and a scale for 512 along K.
// Source: aclnnDualLevelQuantMatmulWeightNz in hicann/ops-nn.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_work.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_dual_level_quant_matmul";
constexpr std::int64_t kLevel0Group = 512;

// --- work
// The scales of the second level are part of the format.
model::Work describe_dual_level(const aten::Call& call) {
  const at::Tensor& x1 = aten::tensor_at(call, 0);
  const model::MatmulWork product{.m = x1.size(0),
                                  .n = aten::tensor_at(call, 1).size(0),
                                  .k = x1.size(1) * 2,
                                  .a = base::Format::kMxFp4,
                                  .b = base::Format::kMxFp4,
                                  .out = aten::format_of(call.result()),
                                  .b_transposed = true};
  return with_reads(product, call, {2, 3, 6});
}

constexpr aten::Entry kEntries[] = {{"npu_dual_level_quant_matmul", describe_dual_level}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
void check_dual_level(const char* argument, const at::Tensor& scale, at::IntArrayRef sizes,
                      bool of_codes) {
  const bool fits =
      of_codes ? c10::elementSize(scale.scalar_type()) == 1 : scale.scalar_type() == at::kFloat;
  TORCH_CHECK_TYPE(fits, kOp, ": expected ", argument, " of ",
                   of_codes ? "float8_e8m0fnu (8 bits)" : "float32", ", got ", scale.scalar_type());
  TORCH_CHECK_VALUE(scale.sizes() == sizes, kOp, ": expected ", argument, " of ", sizes, ", got ",
                    scale.sizes());
}

// The values of fp4 codes [rows, k / 2] times the powers of two of their blocks, [rows, k].
at::Tensor level1_values(const at::Tensor& codes, const at::Tensor& scale, const char* argument) {
  const at::Tensor values = decoded(codes.contiguous().view(at::kByte), Element::kE2m1);
  const std::int64_t k = values.size(1);
  const at::Tensor factors =
      mx_factors_of_rows({.op = kOp, .argument = argument}, scale, values.size(0), k);
  return values * of_each_element(factors, 1, kMxGroup, k);
}

at::Tensor dual_level_quant_matmul(const at::Tensor& x1, const at::Tensor& x2,
                                   const at::Tensor& x1_level0_scale,
                                   const at::Tensor& x2_level0_scale,
                                   const at::Tensor& x1_level1_scale,
                                   const at::Tensor& x2_level1_scale, const MaybeTensor& bias,
                                   std::int64_t output_dtype) {
  const at::ScalarType out =
      result_dtype({kOp, "output_dtype"}, output_dtype, at::kBFloat16, {at::kBFloat16, at::kHalf});
  TORCH_CHECK_VALUE(x1.dim() == 2 && x2.dim() == 2 && x1.size(1) == x2.size(1), kOp,
                    ": expected x1 of [m, k / 2] and x2 of [n, k / 2], got ", x1.sizes(), " and ",
                    x2.sizes());
  TORCH_CHECK_TYPE(
      c10::elementSize(x1.scalar_type()) == 1 && c10::elementSize(x2.scalar_type()) == 1, kOp,
      ": expected x1 and x2 of fp4 codes in bytes, got ", x1.scalar_type(), " and ",
      x2.scalar_type());
  const std::int64_t m = x1.size(0);
  const std::int64_t n = x2.size(0);
  const std::int64_t k = x1.size(1) * 2;
  const std::int64_t groups = (k + kLevel0Group - 1) / kLevel0Group;
  const std::int64_t pairs = (k + 2 * kMxGroup - 1) / (2 * kMxGroup);
  check_dual_level("x1_level0_scale", x1_level0_scale, {m, groups}, false);
  check_dual_level("x2_level0_scale", x2_level0_scale, {groups, n}, false);
  check_dual_level("x1_level1_scale", x1_level1_scale, {m, pairs, 2}, true);
  check_dual_level("x2_level1_scale", x2_level1_scale, {n, pairs, 2}, true);
  if (given(bias)) check_dual_level("bias", *bias, {n}, false);
  const Coded rows{.codes = level1_values(x1, x1_level1_scale, "x1_level1_scale"), .element = {}};
  const Coded columns{.codes = level1_values(x2, x2_level1_scale, "x2_level1_scale").t(),
                      .element = {}};
  const at::Tensor values = scaled_product(
      rows, columns, {.a = x1_level0_scale, .b = x2_level0_scale, .group = kLevel0Group});
  return (given(bias) ? values + *bias : values).to(out);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&dual_level_quant_matmul>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
