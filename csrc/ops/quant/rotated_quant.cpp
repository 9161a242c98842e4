// npu_kronecker_quant and npu_rotate_quant: products with small matrices that spread outliers, then
// a quantisation.
#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/matmul.h>

#include "aten/describe/registry.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
using Two = std::tuple<at::Tensor, at::Tensor>;

// --- work: the products, then the quantisation of what they leave; the card fuses them.
model::Work right_product(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  const at::Tensor& right = aten::tensor_at(call, 2);
  if (right.numel() == 0) return model::NoWork{};
  return model::MatmulWork{.m = aten::ratio(x.numel(), x.size(-1)),
                           .n = x.size(-1),
                           .k = x.size(-1),
                           .a = aten::format_of(x),
                           .b = aten::format_of(x),
                           .out = aten::format_of(x)};
}
model::Work left_product(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  return model::MatmulWork{.m = x.size(1),
                           .n = x.size(0) * x.size(2),
                           .k = x.size(1),
                           .a = aten::format_of(x),
                           .b = aten::format_of(x),
                           .out = aten::format_of(x)};
}
model::Work rotation_product(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  const at::Tensor& rotation = aten::tensor_at(call, 1);
  const std::int64_t k = rotation.size(-1);
  const std::int64_t matrices = rotation.dim() == 3 ? rotation.size(0) : 1;
  return model::MatmulWork{.batch = matrices,
                           .m = aten::ratio(x.numel(), k * matrices),
                           .n = k,
                           .k = k,
                           .a = aten::format_of(x),
                           .b = aten::format_of(x),
                           .out = aten::format_of(x)};
}
constexpr aten::Describer kAfterRight[] = {left_product, quantized_blocks<9>};
constexpr aten::Describer kAfterRotation[] = {quantized_blocks<12>};
constexpr aten::Entry kEntries[] = {
    {"npu_kronecker_quant", right_product, kAfterRight},
    {"npu_rotate_quant", rotation_product, kAfterRotation},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// In fp32, rounded to x's dtype.
at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  return at::matmul(widened(a), widened(b)).to(a.scalar_type());
}

// --- op
void check_half(const char* op, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, op,
                   ": expected x of float16 or bfloat16, got ", x.scalar_type());
}

void check_square(ArgumentName name, const at::Tensor& matrix, std::int64_t size,
                  const at::Tensor& x) {
  TORCH_CHECK_VALUE(matrix.dim() == 2 && matrix.size(0) == size && matrix.size(1) == size, name.op,
                    ": expected ", name.argument, " of [", size, ", ", size, "], got ",
                    matrix.sizes());
  TORCH_CHECK_TYPE(matrix.scalar_type() == x.scalar_type(), name.op, ": expected ", name.argument,
                   " of ", x.scalar_type(), ", the dtype of x, got ", matrix.scalar_type());
}

// int4 packed by eight, one scale a token.
Two to_int4(const char* op, const at::Tensor& values, double clip_ratio) {
  const at::Tensor wide = values.to(at::kFloat);
  const double largest = compute::largest(Element::kInt4) / clip_ratio;
  const at::Tensor scale = wide.abs().amax({1, 2}, /*keepdim=*/true) / largest;
  return {codes_of(op, wide, scale, {.element = Element::kInt4}), scale.reshape({-1})};
}

// fp4, with the elements of a token as one row.
Two to_fp4(const char* op, const at::Tensor& values, double dst_type_max) {
  const std::int64_t algorithm = dst_type_max == 0 ? 0 : 2;
  constexpr std::int64_t kE2m1 = 296;
  const at::Tensor rows = values.flatten(1);
  const MxTarget target =
      mx_target(op, rows, {"rint", kE2m1, algorithm, dst_type_max, MxRanged::kE2m1});
  const Quantized result = mx_quantize(op, rows, target);
  return {result.codes, result.scale};
}

Two kronecker_quant(const at::Tensor& x, const at::Tensor& p1, const at::Tensor& p2,
                    std::optional<double> clip_ratio, std::optional<std::int64_t> dst_dtype,
                    std::optional<double> dst_type_max) {
  constexpr const char* kOp = "npu_kronecker_quant";
  constexpr std::int64_t kInt32 = 3;
  constexpr std::int64_t kAclInt32 = 259;
  check_half(kOp, x);
  TORCH_CHECK_VALUE(x.dim() == 3 && x.numel() > 0, kOp,
                    ": expected x of [tokens, N1, N2] with elements, got ", x.sizes());
  const std::int64_t dtype = dst_dtype.value_or(kInt32);
  const bool int4 = dtype == kInt32 || dtype == kAclInt32;
  TORCH_CHECK_VALUE(int4 || element_of(dtype) == Element::kE2m1, kOp,
                    ": expected dst_dtype torch.int32 or float4_e2m1fn_x2 (296), got ", dtype);
  const double clip = clip_ratio.value_or(1);
  TORCH_CHECK_VALUE(clip > 0 && clip <= 1, kOp, ": expected clip_ratio above 0, at most 1, got ",
                    clip);
  TORCH_CHECK_VALUE(!int4 || dst_type_max.value_or(0) == 0, kOp,
                    ": expected dst_type_max 0 with dst_dtype torch.int32, got ",
                    dst_type_max.value_or(0));
  check_square({kOp, "kronecker_p1"}, p1, x.size(1), x);
  const bool left_alone = !int4 && p2.dim() == 2 && p2.numel() == 0;
  if (!left_alone) check_square({kOp, "kronecker_p2"}, p2, x.size(2), x);
  const at::Tensor values = product(p1, left_alone ? x : product(x, p2));
  return int4 ? to_int4(kOp, values, clip) : to_fp4(kOp, values, dst_type_max.value_or(0));
}

constexpr const char* kRotate = "npu_rotate_quant";
constexpr std::int64_t kMxBlock = 32;

// x in pieces of K, each times the rotation, or times that of its place.
at::Tensor rotated(const at::Tensor& x, const at::Tensor& rotation) {
  const std::int64_t k = rotation.size(-1);
  const at::Tensor pieces = x.reshape({-1, x.size(-1) / k, 1, k});
  return product(pieces, rotation).view(x.sizes());
}

void check_rotation(const at::Tensor& x, const at::Tensor& rotation) {
  const std::int64_t k = rotation.dim() < 2 ? 0 : rotation.size(-1);
  TORCH_CHECK_VALUE(x.dim() > 0 && x.numel() > 0, kRotate, ": expected x with elements, got ",
                    x.sizes());
  TORCH_CHECK_VALUE((k == 32 || k == 64 || k == 128) && rotation.size(-2) == k, kRotate,
                    ": expected rotation of [K, K] or [N / K, K, K] with K of 32, 64 or 128, got ",
                    rotation.sizes());
  TORCH_CHECK_VALUE(x.size(-1) % k == 0, kRotate, ": expected a last axis of x divisible by ", k,
                    ", the size of rotation, got ", x.sizes());
  const bool fits =
      rotation.dim() == 2 || (rotation.dim() == 3 && rotation.size(0) * k == x.size(-1));
  TORCH_CHECK_VALUE(fits, kRotate, ": expected rotation of [", k, ", ", k, "] or [", x.size(-1) / k,
                    ", ", k, ", ", k, "], got ", rotation.sizes());
  TORCH_CHECK_TYPE(rotation.scalar_type() == x.scalar_type(), kRotate, ": expected rotation of ",
                   x.scalar_type(), ", the dtype of x, got ", rotation.scalar_type());
}

// Within +-alpha of the largest magnitude of each block, where alpha is between 0 and 1.
at::Tensor limited(const at::Tensor& values, const MaybeTensor& alpha) {
  if (!given(alpha)) return values;
  TORCH_CHECK_TYPE(alpha->scalar_type() == at::kBFloat16, kRotate,
                   ": expected alpha of bfloat16, got ", alpha->scalar_type());
  TORCH_CHECK_VALUE(alpha->numel() == 1, kRotate, ": expected alpha of [1], got ", alpha->sizes());
  if (values.is_meta()) return values;
  const double share = alpha->item<double>();
  if (!(share > 0 && share < 1)) return values;
  const at::Tensor blocks = values.to(at::kFloat).unflatten(-1, {-1, kMxBlock});
  const at::Tensor limit = blocks.abs().amax(-1, /*keepdim=*/true) * share;
  return blocks.clamp(-limit, limit).view(values.sizes()).to(values.scalar_type());
}

Two rotate_quant(const at::Tensor& x, const at::Tensor& rotation, const MaybeTensor& alpha,
                 std::optional<std::int64_t> dst_dtype, std::optional<std::int64_t> axis,
                 std::optional<c10::string_view> round_mode, std::optional<std::int64_t> scale_alg,
                 std::optional<double> dst_type_max, std::optional<bool> transpose_y) {
  check_half(kRotate, x);
  check_rotation(x, rotation);
  TORCH_CHECK_VALUE(!transpose_y.value_or(false), kRotate,
                    ": expected transpose_y False, got True");
  const std::int64_t along = axis.value_or(-1);
  TORCH_CHECK_VALUE(along == -1 || along == x.dim() - 1, kRotate,
                    ": expected axis of the last axis, -1, got ", along);
  const std::int64_t dtype = dst_dtype.value_or(1);
  const std::int64_t algorithm = scale_alg.value_or(0);
  const std::optional<Element> element = element_of(dtype);
  TORCH_CHECK_VALUE(
      element == Element::kE2m1 || element == Element::kE4m3 || element == Element::kE5m2, kRotate,
      ": expected dst_dtype of fp8 or float4_e2m1fn_x2 (296), which an "
      "Ascend 950 has, got ",
      dtype);
  const MxTarget target = mx_target(
      kRotate, x,
      {round_mode.value_or("rint"), dtype, algorithm, dst_type_max.value_or(0), MxRanged::kE2m1});
  TORCH_CHECK_VALUE(algorithm != 2 || target.largest != 0, kRotate,
                    ": expected dst_type_max of 6 to 12 with scale_alg 2, got 0");
  const Quantized result = mx_quantize(kRotate, limited(rotated(x, rotation), alpha), target);
  return {result.codes, result.scale};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&kronecker_quant>(m, "npu_kronecker_quant");
  composed_kernel<&rotate_quant>(m, "npu_rotate_quant");
}

}  // namespace
}  // namespace npu_sim::ops
