// npu_weight_quant_batchmatmul: 16-bit activations by weights of 8 or 4 bits.
// Source of dtypes and shapes: aclnnWeightQuantBatchMatmulV3 and ..Nz in hicann/ops-nn.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_work.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_weight_quant_batchmatmul";

// --- work
model::Work describe_product(const aten::Call& call) {
  constexpr std::size_t kScale = 2;
  constexpr std::size_t kOffset = 3;
  constexpr std::size_t kBias = 6;
  constexpr std::size_t kWeightDtype = 9;
  const Coded x{.codes = aten::tensor_at(call, 0), .element = {}};
  const Coded weight = operand_at(call, 1, kWeightDtype);
  // The scales of an MX operand are part of its format.
  if (is_e8m0_scale(aten::tensor_at(call, kScale))) {
    return product_work(call, x, weight, true, {kBias});
  }
  return product_work(call, x, weight, false, {kScale, kOffset, kBias});
}
constexpr aten::Entry kEntries[] = {{kOp, describe_product}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
struct WeightProduct {
  at::Tensor x;
  Coded weight;
  at::Tensor scale;
  at::Tensor offset;
  at::Tensor bias;
  std::int64_t group;

  [[nodiscard]] std::int64_t k() const { return x.size(-1); }
  [[nodiscard]] std::int64_t n() const { return numbers_along(weight, -1); }
};

void check_dtypes(const WeightProduct& call) {
  const at::ScalarType dtype = call.x.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kBFloat16, kOp,
                   ": expected x of float16 or bfloat16, got ", dtype);
  TORCH_CHECK_TYPE(call.weight.element.has_value() && *call.weight.element != Element::kE5m2 &&
                       *call.weight.element != Element::kE1m2,
                   kOp,
                   ": expected weight of int8, int4 (int32), float8_e4m3fn, hifloat8 or fp4 "
                   "(float32), got ",
                   call.weight.codes.scalar_type());
  const bool powers = is_e8m0_scale(call.scale);
  TORCH_CHECK_TYPE(!powers || *call.weight.element == Element::kE2m1, kOp,
                   ": expected antiquant_scale of float8_e8m0fnu only with weight of "
                   "float4_e2m1fn_x2, got weight of ",
                   call.weight.codes.scalar_type());
  TORCH_CHECK_TYPE(powers || call.scale.scalar_type() == dtype, kOp,
                   ": expected antiquant_scale of x's dtype ", dtype, ", got ",
                   call.scale.scalar_type());
  const bool integers = is_integer(*call.weight.element);
  if (call.offset.defined()) {
    TORCH_CHECK_TYPE(integers && call.offset.scalar_type() == dtype, kOp,
                     ": expected antiquant_offset only with weight of int8 or int4, of x's dtype ",
                     dtype, ", got ", call.offset.scalar_type());
  }
  if (call.bias.defined()) {
    const bool wide = integers && dtype == at::kBFloat16 && call.bias.scalar_type() == at::kFloat;
    TORCH_CHECK_TYPE(wide || call.bias.scalar_type() == dtype, kOp, ": expected bias of x's dtype ",
                     dtype, ", or of float32 with bfloat16 and integer weights, got ",
                     call.bias.scalar_type());
  }
}

void check_scale(const WeightProduct& call) {
  const at::IntArrayRef sizes = call.scale.sizes();
  const std::int64_t n = call.n();
  const bool fp8 = !is_integer(*call.weight.element) && *call.weight.element != Element::kE2m1;
  const bool fp4 = *call.weight.element == Element::kE2m1;
  if (call.group > 0) {
    const std::int64_t groups = (call.k() + call.group - 1) / call.group;
    TORCH_CHECK_VALUE(!fp8 && sizes == at::IntArrayRef({groups, n}), kOp,
                      ": expected antiquant_scale of [", groups, ", ", n,
                      "] in groups of int8, int4 or fp4, got ", sizes);
    TORCH_CHECK_VALUE(!is_e8m0_scale(call.scale) || call.group == kMxGroup, kOp,
                      ": expected antiquant_group_size of 32 with float8_e8m0fnu, got ",
                      call.group);
    return;
  }
  TORCH_CHECK_VALUE(!fp4, kOp, ": expected antiquant_group_size above 0 with fp4, got 0");
  const bool one = !fp8 && call.scale.numel() == 1 && call.scale.dim() <= 2 && call.scale.dim() > 0;
  TORCH_CHECK_VALUE(one || sizes == at::IntArrayRef{n} || sizes == at::IntArrayRef({1, n}), kOp,
                    ": expected antiquant_scale of ", fp8 ? "" : "[1], ", "[", n, "] or [1, ", n,
                    "], got ", sizes);
}

void check_shapes(const WeightProduct& call) {
  TORCH_CHECK_VALUE(call.x.dim() == 2 && call.weight.codes.dim() == 2, kOp,
                    ": expected x of [m, k] and weight of [k, n], got ", call.x.sizes(), " and ",
                    call.weight.codes.sizes());
  TORCH_CHECK_VALUE(numbers_along(call.weight, -2) == call.k(), kOp, ": expected weight of [",
                    call.k(), ", n], got k of ", numbers_along(call.weight, -2), " from ",
                    call.weight.codes.sizes());
  const bool multiple = call.group >= kMxGroup && call.group % kMxGroup == 0;
  TORCH_CHECK_VALUE(call.group == 0 || (multiple && call.group < call.k()), kOp,
                    ": expected antiquant_group_size of 0 or a multiple of 32 below k = ", call.k(),
                    ", got ", call.group);
  check_scale(call);
  TORCH_CHECK_VALUE(!call.offset.defined() || call.offset.sizes() == call.scale.sizes(), kOp,
                    ": expected antiquant_offset of antiquant_scale's shape ", call.scale.sizes(),
                    ", got ", call.offset.sizes());
  if (call.bias.defined()) {
    check_bias(kOp, call.bias, {.codes = call.x, .element = {}}, call.weight);
  }
}

// --- op
// The cube multiplies x's dtype, so the weight is rounded to it once.
at::Tensor computed(const WeightProduct& call) {
  const at::ScalarType dtype = call.x.scalar_type();
  const at::Tensor scale = is_e8m0_scale(call.scale) ? decoded_e8m0(call.scale) : call.scale;
  const at::Tensor weight =
      antiquantised(call.weight, scale, call.offset, call.group).to(dtype).to(at::kFloat);
  const at::Tensor product = at::matmul(widened(call.x), weight);
  return (call.bias.defined() ? product + widened(call.bias) : product).to(dtype);
}

at::Tensor weight_quant_batchmatmul(const at::Tensor& x, const at::Tensor& weight,
                                    const at::Tensor& antiquant_scale,
                                    const MaybeTensor& antiquant_offset,
                                    const MaybeTensor& quant_scale, const MaybeTensor& quant_offset,
                                    const MaybeTensor& bias, std::int64_t antiquant_group_size,
                                    std::int64_t inner_precise, MaybeInteger weight_dtype) {
  TORCH_CHECK_VALUE(
      !given(quant_scale) && !given(quant_offset), kOp,
      ": expected no quant_scale and quant_offset, which an Ascend 950 does not take");
  TORCH_CHECK_VALUE(inner_precise == 0 || inner_precise == 1, kOp,
                    ": expected inner_precise of 0 or 1, got ", inner_precise);
  const WeightProduct call{.x = x,
                           .weight = packed_operand(weight, weight_dtype),
                           .scale = antiquant_scale,
                           .offset = or_undefined(antiquant_offset),
                           .bias = or_undefined(bias),
                           .group = antiquant_group_size};
  check_dtypes(call);
  check_shapes(call);
  return computed(call);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&weight_quant_batchmatmul>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
