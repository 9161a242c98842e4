// Weights as the card's products read them: npu_convert_weight_to_int4pack packs eight codes of
// four bits to 32, npu_weight_quant_preprocess lays fp4 weights out for products with fp8.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/matmul/product_arguments.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr std::int64_t kCodesAnItem = 8;
constexpr std::int64_t kBitsACode = 4;

// --- work: packing is done by the host; laying out is a copy of everything.
model::Work describe_packing(const aten::Call& call) {
  const base::Bytes in = aten::bytes_of(aten::tensor_at(call, 0));
  const base::Bytes out = aten::bytes_of(call.result());
  return model::HostWork{.to_host = in, .to_device = out, .host_traffic = in + out};
}
model::Work describe_layout(const aten::Call& call) {
  const aten::Traffic traffic = aten::traffic_of(call);
  return model::CopyWork{.read = traffic.read, .written = traffic.written};
}
constexpr aten::Entry kEntries[] = {
    {"npu_convert_weight_to_int4pack", describe_packing},
    {"npu_weight_quant_preprocess", describe_layout},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- npu_convert_weight_to_int4pack
at::Tensor packed_integers(const at::Tensor& weight) {
  const at::Tensor shifts = at::arange(0, kCodesAnItem * kBitsACode, kBitsACode, weight.options());
  const at::Tensor codes = weight.bitwise_and(15).unflatten(-1, {-1, kCodesAnItem});
  return codes.bitwise_left_shift(shifts).sum(-1).to(at::kInt);
}

// One bit of mantissa is kept; what is then no fp4 number becomes 0, as op-plugin's table has it.
at::Tensor packed_fp4(const at::Tensor& weight) {
  constexpr const char* kOp = "npu_convert_weight_to_int4pack";
  constexpr std::int32_t kKeptBits = static_cast<std::int32_t>(0xFFC00000);
  const at::Tensor kept = weight.view(at::kInt).bitwise_and(kKeptBits).view(at::kFloat);
  const at::Tensor nearest =
      decoded(encoded(kOp, kept, Element::kE2m1, compute::Rounding::kTrunc), Element::kE2m1);
  const at::Tensor exact = at::where(nearest == kept, kept, at::zeros_like(kept));
  return encoded(kOp, exact, Element::kE2m1, compute::Rounding::kTrunc).view(at::kFloat);
}

at::Tensor convert_weight_to_int4pack(const at::Tensor& weight, std::int64_t /*inner_k_tiles*/) {
  constexpr const char* kOp = "npu_convert_weight_to_int4pack";
  TORCH_CHECK_VALUE(weight.is_contiguous(), kOp, ": expected contiguous weight, got strides ",
                    weight.strides());
  TORCH_CHECK_VALUE(weight.dim() == 2 || weight.dim() == 3, kOp,
                    ": expected weight of 2 or 3 axes, got ", weight.sizes());
  TORCH_CHECK_TYPE(weight.scalar_type() == at::kInt || weight.scalar_type() == at::kFloat, kOp,
                   ": expected weight of int32 (int4) or float32 (fp4), got ",
                   weight.scalar_type());
  TORCH_CHECK_VALUE(weight.numel() > 0 && weight.size(-1) % kCodesAnItem == 0, kOp,
                    ": expected weight with a last axis divisible by 8 and no axis of 0, got ",
                    weight.sizes());
  return weight.scalar_type() == at::kInt ? packed_integers(weight) : packed_fp4(weight);
}

// --- npu_weight_quant_preprocess
// A copy with the strides of `tensor`; its fractal order in memory is not told apart here.
at::Tensor laid_out(const at::Tensor& tensor) {
  return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options()).copy_(tensor);
}

at::Tensor laid_out(const MaybeTensor& tensor) {
  return given(tensor) ? tensor->clone() : at::Tensor{};
}

bool is_transposed(const at::Tensor& tensor, std::int64_t axis) {
  return tensor.stride(axis + 1) == tensor.stride(axis) * tensor.size(axis);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> weight_quant_preprocess(
    const at::Tensor& weight, const at::Tensor& weight_scale, std::int64_t x_dtype,
    std::int64_t weight_dtype, std::int64_t weight_scale_dtype, const MaybeTensor& weight_offset,
    const MaybeTensor& bias, MaybeInteger x_scale_dtype, MaybeInteger /*k_group_size*/) {
  constexpr const char* kOp = "npu_weight_quant_preprocess";
  const bool formats = element_of(x_dtype) == Element::kE4m3 &&
                       element_of(weight_dtype) == Element::kE2m1 && is_e8m0(x_scale_dtype) &&
                       is_e8m0(weight_scale_dtype);
  TORCH_CHECK_VALUE(formats, kOp,
                    ": expected x_dtype of float8_e4m3fn, weight_dtype of float4_e2m1fn_x2 and "
                    "scales of float8_e8m0fnu, got x_dtype ",
                    x_dtype, ", weight_dtype ", weight_dtype, ", weight_scale_dtype ",
                    weight_scale_dtype, ", x_scale_dtype ", x_scale_dtype.value_or(-1));
  const std::int64_t axes = weight.dim();
  TORCH_CHECK_VALUE(axes == 2 || axes == 3, kOp, ": expected weight of 2 or 3 axes, got ",
                    weight.sizes());
  TORCH_CHECK_VALUE(weight_scale.dim() == axes + 1, kOp, ": expected weight_scale of ", axes + 1,
                    " axes, got ", weight_scale.sizes());
  TORCH_CHECK_VALUE(is_transposed(weight, axes - 2) && is_transposed(weight_scale, axes - 2), kOp,
                    ": expected weight and weight_scale transposed in memory, got strides ",
                    weight.strides(), " and ", weight_scale.strides());
  return {laid_out(weight), laid_out(weight_scale), laid_out(weight_offset), laid_out(bias)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&convert_weight_to_int4pack>(m, "npu_convert_weight_to_int4pack");
  composed_kernel<&weight_quant_preprocess>(m, "npu_weight_quant_preprocess");
}

}  // namespace
}  // namespace npu_sim::ops
