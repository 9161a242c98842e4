// npu_quant_matmul: a product of two quantised operands.
//
// Letters name what x1 and x2 share a scale by: T tensor, C channel, K token, G a row of 128 or 32,
// B a block of 128 x 128. Source of the modes, their dtypes and shapes: aclnnQuantMatmulV5 in
// hicann/ops-nn, of the order of additions and roundings: QuantMatmulKernelNpuOpApi.cpp in
// Ascend/op-plugin.
#include "ops/matmul/quant_matmul.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/round.h>

#include <array>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/matmul/packed_scale.h"
#include "ops/matmul/product_work.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quant_matmul";

// --- work
constexpr std::size_t kScale = 2;
constexpr std::size_t kOffset = 3;
constexpr std::size_t kTokenScale = 4;
constexpr std::size_t kBias = 5;
constexpr std::size_t kScaleDtype = 10;
constexpr std::size_t kResultScale = 12;

model::Work describe_product(const aten::Call& call) {
  const bool mx =
      is_e8m0_scale(aten::tensor_at(call, kScale), aten::integer_at(call, kScaleDtype, -1));
  return product_work(call, operand_at(call, 0, 7), operand_at(call, 1, 8), mx,
                      {kScale, kOffset, kTokenScale, kBias, kResultScale});
}

// Whether the output pipe applies a scale that came in fp32, so that it is packed first.
bool packs_scale(const at::Tensor& x1, const at::Tensor& scale, bool per_token, bool typed,
                 at::ScalarType out) {
  const bool plain_integer =
      (x1.scalar_type() == at::kChar || x1.scalar_type() == at::kInt) && !typed;
  return scale.scalar_type() == at::kFloat && !per_token && out != at::kInt &&
         (out != at::kBFloat16 || !plain_integer);
}

model::Work describe_scale_packing(const aten::Call& call) {
  const at::Tensor& scale = aten::tensor_at(call, kScale);
  const bool packs =
      packs_scale(aten::tensor_at(call, 0), scale, aten::tensor_at(call, kTokenScale).defined(),
                  aten::integer_at(call, 7, -1) >= 0, aten::output_of(call).scalar_type());
  if (!packs) return model::NoWork{};
  const base::Bytes written{scale.numel() * static_cast<std::int64_t>(sizeof(std::int64_t))};
  return model::VectorWork{
      .elements = scale.numel(),
      .read = aten::bytes_of(scale) + aten::bytes_of(aten::tensor_at(call, kOffset)),
      .written = written,
      .linear_ops = 2};
}
constexpr aten::Describer kPackingThenProduct[] = {describe_product};
constexpr aten::Entry kEntries[] = {{kOp, describe_scale_packing, kPackingThenProduct}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
struct Product {
  Coded x1;
  Coded x2;
  at::Tensor scale;
  at::Tensor offset;
  at::Tensor token;  // pertoken_scale
  at::Tensor bias;
  at::Tensor result_scale;  // y_scale
  at::IntArrayRef groups;
  at::ScalarType out;

  [[nodiscard]] std::int64_t m() const { return numbers_along(x1, -2); }
  [[nodiscard]] std::int64_t n() const { return numbers_along(x2, -1); }
  [[nodiscard]] std::int64_t k() const { return numbers_along(x1, -1); }
  [[nodiscard]] bool of_integers() const { return is_integer(*x1.element); }
};

void check_dtype(const char* op, const char* argument, const at::Tensor& tensor,
                 std::initializer_list<at::ScalarType> allowed) {
  if (!tensor.defined()) return;
  std::string names;
  for (const at::ScalarType each : allowed) {
    if (tensor.scalar_type() == each) return;
    names += (names.empty() ? "" : " or ") + std::string(c10::toString(each));
  }
  TORCH_CHECK_TYPE(false, op, ": expected ", argument, " of ", names, ", got ",
                   tensor.scalar_type());
}

void refuse(const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(!tensor.defined(), kOp, ": expected no ", argument,
                    " for these operands, which an Ascend 950 does not take, got ", tensor.sizes());
}

// One number, or one for each of `size`.
void check_scale(const char* op, const char* argument, const at::Tensor& scale, std::int64_t size) {
  const bool fits = scale.dim() == 1 && (scale.size(0) == 1 || scale.size(0) == size);
  TORCH_CHECK_VALUE(fits, op, ": expected ", argument, " of [1] or [", size, "], got ",
                    scale.sizes());
}

// The output pipe scales and rounds the sums: T-C and T-T with a packed scale.
at::Tensor packed_product(const Product& call, const at::Tensor& packed) {
  check_scale(kOp, "scale", packed, call.n());
  check_dtype(kOp, "bias", call.bias, {call.of_integers() ? at::kInt : at::kFloat});
  if (call.out != at::kChar) refuse("offset", call.offset);
  const at::Tensor values = scaled_product(call.x1, call.x2, {.b = factors_of(packed)}, call.bias);
  if (call.out != at::kChar) return values.to(call.out);
  return (at::round(values) + offsets_of(packed)).clamp(-128, 127).to(at::kChar);
}

// Blocks of 128 along each axis, or rows of 128 along K of x1.
constexpr std::int64_t kBlock = 128;

std::int64_t blocks(std::int64_t size, std::int64_t block) { return (size + block - 1) / block; }

// A group size of 0 is what the shapes of operand and scale make of it.
std::int64_t group_size(const Product& call, std::size_t place, std::int64_t size,
                        std::int64_t scales) {
  const std::int64_t given = call.groups.empty() ? 0 : call.groups[place];
  if (given != 0 || scales == 0) return given;
  TORCH_CHECK_VALUE(size % scales == 0, kOp, ": expected group_sizes, because ", size,
                    " numbers do not divide by ", scales, " scales");
  return size / scales;
}

at::Tensor block_product(const Product& call) {
  const at::Tensor& token = call.token;
  const std::int64_t rows = group_size(call, 0, call.m(), token.size(-2));
  const std::int64_t columns = group_size(call, 1, call.n(), call.scale.size(-1));
  const std::int64_t run = group_size(call, 2, call.k(), token.size(-1));
  TORCH_CHECK_VALUE((rows == 1 || rows == kBlock) && columns == kBlock && run == kBlock, kOp,
                    ": expected group_sizes of [1, 128, 128] or [128, 128, 128], got [", rows, ", ",
                    columns, ", ", run, "]");
  const std::array of_token{blocks(call.m(), rows), blocks(call.k(), run)};
  const std::array of_scale{blocks(call.k(), run), blocks(call.n(), columns)};
  const auto ends_with = [](const at::Tensor& scale, const std::array<std::int64_t, 2>& sizes) {
    return scale.size(-2) == sizes[0] && scale.size(-1) == sizes[1];
  };
  TORCH_CHECK_VALUE(ends_with(token, of_token), kOp, ": expected pertoken_scale of [.., ",
                    of_token[0], ", ", of_token[1], "], got ", token.sizes());
  TORCH_CHECK_VALUE(ends_with(call.scale, of_scale), kOp, ": expected scale of [.., ", of_scale[0],
                    ", ", of_scale[1], "], got ", call.scale.sizes());
  TORCH_CHECK_VALUE(
      !call.of_integers() || rows == 1, kOp,
      ": expected int8 operands with group_sizes of [1, 128, 128], got [128, 128, 128]");
  if (call.of_integers()) {
    check_dtype(kOp, "bias", call.bias, {at::kFloat});
  } else {
    refuse("bias", call.bias);
  }
  const Scales scales{.a = of_each_element(token, -2, rows, call.m()),
                      .b = of_each_element(call.scale, -1, columns, call.n()),
                      .group = run};
  const at::Tensor values = scaled_product(call.x1, call.x2, scales);
  return call.bias.defined() ? values + call.bias : values;
}

// Tokens by groups of 256 along K with an offset: (x2 - offset) * scale.
at::Tensor grouped_int4_product(const Product& call) {
  constexpr std::int64_t kGroup = 256;
  const at::IntArrayRef of_scale = call.scale.sizes();
  const std::array expected{blocks(call.k(), kGroup), call.n()};
  const std::int64_t run = group_size(call, 2, call.k(), call.scale.size(-2));
  TORCH_CHECK_VALUE(of_scale == at::IntArrayRef(expected) && run == kGroup, kOp,
                    ": expected scale of [", expected[0], ", ", expected[1],
                    "] in groups of 256 along k, got ", of_scale);
  TORCH_CHECK_VALUE(call.token.sizes() == at::IntArrayRef({call.m(), 1}), kOp,
                    ": expected pertoken_scale of [", call.m(), ", 1], got ", call.token.sizes());
  check_dtype(kOp, "offset", call.offset, {at::kHalf});
  TORCH_CHECK_VALUE(call.offset.defined() && call.offset.sizes() == of_scale, kOp,
                    ": expected offset of scale's shape ", of_scale, ", got ",
                    call.offset.defined() ? call.offset.sizes() : at::IntArrayRef{});
  refuse("bias", call.bias);
  const Coded shifted{.codes = antiquantised(call.x2, {}, -widened(call.offset), kGroup),
                      .element = {}};
  return scaled_product(call.x1, shifted, {.a = call.token, .b = call.scale, .group = kGroup});
}

void check_mx_groups(const Product& call) {
  constexpr std::int64_t kOne = 1;
  if (call.groups.empty()) return;
  const bool fits = call.groups[0] <= kOne && call.groups[1] <= kOne &&
                    (call.groups[2] == kMxGroup || call.groups[2] == 0);
  TORCH_CHECK_VALUE(fits, kOp, ": expected group_sizes of [1, 1, 32] for MX operands, got ",
                    call.groups);
}

at::Tensor mx_product(const Product& call, const at::Tensor& token, const at::Tensor& scale) {
  check_mx_groups(call);
  const bool mixed = call.x1.element != call.x2.element && *call.x2.element == Element::kE2m1;
  check_dtype(kOp, "bias", call.bias, {mixed ? call.out : at::kFloat});
  const Scales scales{.a = mx_factors_of_rows({kOp, "pertoken_scale"}, token, call.m(), call.k()),
                      .b = mx_factors_of_columns({kOp, "scale"}, scale, call.k(), call.n()),
                      .group = kMxGroup,
                      .powers_of_two = true};
  const at::Tensor values = scaled_product(call.x1, call.x2, scales);
  return call.bias.defined() ? values + widened(call.bias) : values;
}

// T-CG: e4m3 by fp4 in groups of 32 along K with scales of 16 bits, and a packed scale of columns.
at::Tensor fp4_group_product(const Product& call) {
  check_mx_groups(call);
  check_dtype(kOp, "scale", call.scale, {call.out});
  refuse("bias", call.bias);
  refuse("pertoken_scale", call.token);
  const std::array expected{blocks(call.k(), kMxGroup), call.n()};
  TORCH_CHECK_VALUE(call.scale.sizes() == at::IntArrayRef(expected), kOp, ": expected scale of [",
                    expected[0], ", ", expected[1], "], got ", call.scale.sizes());
  const at::Tensor& result_scale = call.result_scale;
  TORCH_CHECK_VALUE(result_scale.defined() && is_packed(result_scale) &&
                        result_scale.sizes() == at::IntArrayRef({1, call.n()}),
                    kOp, ": expected y_scale of int64 and [1, ", call.n(), "] for fp8 by fp4");
  const Coded weight{.codes = antiquantised(call.x2, call.scale, {}, kMxGroup), .element = {}};
  return scaled_product(call.x1, weight, {.b = factors_of(result_scale)});
}

}  // namespace

at::Tensor token_scaled(const TokenScaled& product) {
  const std::int64_t n = numbers_along(product.x2, -1);
  check_scale(product.op, "scale of x2", product.channel, n);
  Scales scales{.b = widened(product.channel)};
  if (product.token.defined()) {
    check_scale(product.op, "scale of x1", product.token, numbers_along(product.x1, -2));
    scales.a = product.token.unsqueeze(-1);
  }
  const bool summed = product.bias.defined() && product.bias.scalar_type() == at::kInt;
  const at::Tensor values =
      scaled_product(product.x1, product.x2, scales, summed ? product.bias : at::Tensor{});
  return product.bias.defined() && !summed ? values + widened(product.bias) : values;
}

namespace {

// K-C, K-T, and T-C, T-T of a scale in fp32 or bf16.
at::Tensor scaled_by_token(const Product& call) {
  refuse("offset", call.offset);
  if (!call.of_integers()) {
    check_dtype(kOp, "scale", call.scale, {at::kFloat});
    check_dtype(kOp, "bias", call.bias, {at::kFloat});
  } else if (call.out == at::kHalf) {
    check_dtype(kOp, "scale", call.scale, {at::kFloat});
    check_dtype(kOp, "bias", call.bias, {at::kInt, at::kFloat, at::kHalf});
  } else {
    check_dtype(kOp, "scale", call.scale, {at::kFloat, at::kBFloat16});
    check_dtype(kOp, "bias", call.bias, {at::kInt, at::kFloat, at::kBFloat16});
    TORCH_CHECK_VALUE(call.out == at::kBFloat16, kOp,
                      ": expected output_dtype of float16 or bfloat16 with this scale, got ",
                      call.out);
  }
  return token_scaled({.op = kOp,
                       .x1 = call.x1,
                       .x2 = call.x2,
                       .token = call.token,
                       .channel = call.scale,
                       .bias = call.bias});
}

// --- checks
void check_operands(const Product& call, bool mx) {
  const bool known = call.x1.element.has_value() && call.x2.element.has_value();
  TORCH_CHECK_TYPE(known, kOp, ": expected x1 and x2 of int8, int4, fp8, hifloat8 or fp4, got ",
                   call.x1.codes.scalar_type(), " and ", call.x2.codes.scalar_type());
  const Element a = *call.x1.element;
  const Element b = *call.x2.element;
  const bool fp4 = b == Element::kE2m1;
  const bool pair = a == b || (is_fp8(call.x1) && is_fp8(call.x2)) || (a == Element::kE4m3 && fp4);
  TORCH_CHECK_TYPE(pair && a != Element::kE1m2, kOp,
                   ": expected x1 and x2 of one format, two of fp8, or float8_e4m3fn and "
                   "float4_e2m1fn_x2, got formats of ",
                   call.x1.codes.scalar_type(), " and ", call.x2.codes.scalar_type());
  TORCH_CHECK_TYPE(!mx || is_fp8(call.x1) || a == Element::kE2m1, kOp,
                   ": expected x1 of fp8 or fp4 with scales of float8_e8m0fnu, got ",
                   call.x1.codes.scalar_type());
  TORCH_CHECK_TYPE(mx || a != Element::kE2m1, kOp,
                   ": expected scales of float8_e8m0fnu with fp4 operands, got ",
                   call.scale.scalar_type());
}

// Where last axes are swapped in memory, the card wants it of an operand and its scale alike.
bool is_swapped(const at::Tensor& tensor, std::int64_t axis) {
  return tensor.stride(axis + 1) == tensor.stride(axis) * tensor.size(axis);
}

void check_layouts(const char* operand, const at::Tensor& x, const char* argument,
                   const at::Tensor& scale, bool mx) {
  const std::int64_t of_x = x.dim() - 2;
  const std::int64_t of_scale = scale.dim() - (mx ? 3 : 2);
  if (of_scale < 0) return;
  const bool single = (x.size(of_x) == 1 && x.size(of_x + 1) == 1) ||
                      (scale.size(of_scale) == 1 && scale.size(of_scale + 1) == 1);
  TORCH_CHECK_VALUE(single || is_swapped(x, of_x) == is_swapped(scale, of_scale), kOp,
                    ": expected ", operand, " and ", argument,
                    " transposed alike in memory, got strides ", x.strides(), " and ",
                    scale.strides());
}

void check_arguments(const Product& call, bool mx) {
  check_product(kOp, call.x1, call.x2);
  if (call.bias.defined()) check_bias(kOp, call.bias, call.x1, call.x2);
  TORCH_CHECK_VALUE(call.groups.empty() || call.groups.size() == 3, kOp,
                    ": expected group_sizes of [m, n, k], got ", call.groups);
  for (const std::int64_t size : call.groups) {
    TORCH_CHECK_VALUE(size >= 0 && size <= 65535, kOp, ": expected group_sizes in [0, 65535], got ",
                      call.groups);
  }
  const bool fp8_by_fp4 = *call.x1.element == Element::kE4m3 && *call.x2.element == Element::kE2m1;
  if (!fp8_by_fp4) refuse("y_scale", call.result_scale);
  if (call.token.defined() && call.token.dim() >= 2 && call.scale.dim() >= 2 && !fp8_by_fp4) {
    check_layouts("x1", call.x1.codes, "pertoken_scale", call.token, mx);
    check_layouts("x2", call.x2.codes, "scale", call.scale, mx);
  }
}

at::ScalarType result_of(const Coded& x1, MaybeInteger output_dtype) {
  const ArgumentName name{.op = kOp, .argument = "output_dtype"};
  if (x1.element == Element::kInt8) {
    return result_dtype(name, output_dtype, at::kChar,
                        {at::kChar, at::kHalf, at::kBFloat16, at::kInt});
  }
  if (x1.element == Element::kInt4) {
    return result_dtype(name, output_dtype, at::kChar, {at::kHalf, at::kBFloat16});
  }
  return result_dtype(name, output_dtype, at::kChar, {at::kHalf, at::kBFloat16, at::kFloat});
}

// The sums themselves: scales take no part.
at::Tensor integer_sums(const Product& call) {
  check_dtype(kOp, "bias", call.bias, {at::kInt});
  const at::Tensor sums = unscaled_product(call.x1, call.x2).to(at::kInt);
  return call.bias.defined() ? sums + call.bias : sums;
}

at::Tensor computed(const Product& call, bool typed) {
  if (call.out == at::kInt) return integer_sums(call);
  if (*call.x2.element == Element::kE2m1) return fp4_group_product(call).to(call.out);
  if (packs_scale(call.x1.codes, call.scale, call.token.defined(), typed, call.out)) {
    check_dtype(kOp, "offset", call.offset, {at::kFloat});
    if (call.offset.defined()) check_scale(kOp, "offset", call.offset, call.n());
    return packed_product(call, packed_scale(call.scale, call.offset, false));
  }
  if (is_packed(call.scale)) {
    refuse("pertoken_scale", call.token);
    refuse("offset", call.offset);
    return packed_product(call, call.scale);
  }
  const bool blocked = call.token.defined() && call.token.dim() >= 2 && call.scale.dim() >= 2;
  if (!blocked) return scaled_by_token(call).to(call.out);
  check_dtype(kOp, "scale", call.scale, {at::kFloat});
  if (*call.x1.element == Element::kInt4) return grouped_int4_product(call).to(call.out);
  refuse("offset", call.offset);
  return block_product(call).to(call.out);
}

// --- op
at::Tensor quant_matmul(const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& scale,
                        const MaybeTensor& offset, const MaybeTensor& pertoken_scale,
                        const MaybeTensor& bias, MaybeInteger output_dtype, MaybeInteger x1_dtype,
                        MaybeInteger x2_dtype, MaybeInteger pertoken_scale_dtype,
                        MaybeInteger scale_dtype, at::OptionalIntArrayRef group_sizes,
                        const MaybeTensor& y_scale) {
  const Coded a{.codes = x1, .element = element_of(x1, x1_dtype)};
  const Product call{.x1 = a,
                     .x2 = packed_operand(x2, x2_dtype),
                     .scale = scale,
                     .offset = or_undefined(offset),
                     .token = or_undefined(pertoken_scale),
                     .bias = or_undefined(bias),
                     .result_scale = or_undefined(y_scale),
                     .groups = group_sizes.value_or(at::IntArrayRef{}),
                     .out = result_of(a, output_dtype)};
  const bool mx = is_e8m0_scale(scale, scale_dtype);
  check_operands(call, mx);
  check_arguments(call, mx);
  if (!mx) {
    check_dtype(kOp, "pertoken_scale", call.token, {at::kFloat});
    return computed(call, x1_dtype.has_value());
  }
  TORCH_CHECK_TYPE(is_e8m0_scale(call.token, pertoken_scale_dtype) && call.token.defined(), kOp,
                   ": expected pertoken_scale of float8_e8m0fnu as scale is");
  refuse("offset", call.offset);
  return mx_product(call, call.token, scale).to(call.out);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&quant_matmul>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
