// Letters name what x1 and x2 share a scale by: T tensor, C channel, K token, G a row of 128 or 32,
// B a block of 128 x 128. Source of the modes, their dtypes and shapes: aclnnQuantMatmulV5 in
// hicann/ops-nn, of the order of additions and roundings: QuantMatmulKernelNpuOpApi.cpp in
// Ascend/op-plugin.
#include "ops/matmul/quant_matmul_modes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/round.h>

#include <array>

#include "ops/matmul/packed_scale.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_quant_matmul";

void check_dtype(const char* argument, const at::Tensor& tensor,
                 std::initializer_list<at::ScalarType> allowed) {
  if (!tensor.defined()) return;
  std::string names;
  for (const at::ScalarType each : allowed) {
    if (tensor.scalar_type() == each) return;
    names += (names.empty() ? "" : " or ") + std::string(c10::toString(each));
  }
  TORCH_CHECK_TYPE(false, kOp, ": expected ", argument, " of ", names, ", got ",
                   tensor.scalar_type());
}

void refuse(const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(!tensor.defined(), kOp, ": expected no ", argument,
                    " for these operands, which an Ascend 950 does not take, got ", tensor.sizes());
}

// One number, or one for each of `size`.
void check_scale(const char* argument, const at::Tensor& scale, std::int64_t size) {
  const bool fits = scale.dim() == 1 && (scale.size(0) == 1 || scale.size(0) == size);
  TORCH_CHECK_VALUE(fits, kOp, ": expected ", argument, " of [1] or [", size, "], got ",
                    scale.sizes());
}

// The output pipe scales and rounds the sums: T-C and T-T with a packed scale.
at::Tensor packed_product(const QuantProduct& call, const at::Tensor& packed) {
  check_scale("scale", packed, call.n());
  check_dtype("bias", call.bias, {call.of_integers() ? at::kInt : at::kFloat});
  if (call.out != at::kChar) refuse("offset", call.offset);
  const at::Tensor values = scaled_product(call.x1, call.x2, {.b = factors_of(packed)}, call.bias);
  if (call.out != at::kChar) return values.to(call.out);
  return (at::round(values) + offsets_of(packed)).clamp(-128, 127).to(at::kChar);
}

// Blocks of 128 along each axis, or rows of 128 along K of x1.
constexpr std::int64_t kBlock = 128;

std::int64_t blocks(std::int64_t size, std::int64_t block) { return (size + block - 1) / block; }

// A group size of 0 is what the shapes of operand and scale make of it.
std::int64_t group_size(const QuantProduct& call, std::size_t place, std::int64_t size,
                        std::int64_t scales) {
  const std::int64_t given = call.groups.empty() ? 0 : call.groups[place];
  if (given != 0 || scales == 0) return given;
  TORCH_CHECK_VALUE(size % scales == 0, kOp, ": expected group_sizes, because ", size,
                    " numbers do not divide by ", scales, " scales");
  return size / scales;
}

at::Tensor block_product(const QuantProduct& call) {
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
    check_dtype("bias", call.bias, {at::kFloat});
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
at::Tensor grouped_int4_product(const QuantProduct& call) {
  constexpr std::int64_t kGroup = 256;
  const at::IntArrayRef of_scale = call.scale.sizes();
  const std::array expected{blocks(call.k(), kGroup), call.n()};
  const std::int64_t run = group_size(call, 2, call.k(), call.scale.size(-2));
  TORCH_CHECK_VALUE(of_scale == at::IntArrayRef(expected) && run == kGroup, kOp,
                    ": expected scale of [", expected[0], ", ", expected[1],
                    "] in groups of 256 along k, got ", of_scale);
  TORCH_CHECK_VALUE(call.token.sizes() == at::IntArrayRef({call.m(), 1}), kOp,
                    ": expected pertoken_scale of [", call.m(), ", 1], got ", call.token.sizes());
  check_dtype("offset", call.offset, {at::kHalf});
  TORCH_CHECK_VALUE(call.offset.defined() && call.offset.sizes() == of_scale, kOp,
                    ": expected offset of scale's shape ", of_scale, ", got ",
                    call.offset.defined() ? call.offset.sizes() : at::IntArrayRef{});
  refuse("bias", call.bias);
  const Coded shifted{.codes = antiquantised(call.x2, {}, -widened(call.offset), kGroup),
                      .element = {}};
  return scaled_product(call.x1, shifted, {.a = call.token, .b = call.scale, .group = kGroup});
}

void check_mx_groups(const QuantProduct& call) {
  constexpr std::int64_t kOne = 1;
  if (call.groups.empty()) return;
  const bool fits = call.groups[0] <= kOne && call.groups[1] <= kOne &&
                    (call.groups[2] == kMxGroup || call.groups[2] == 0);
  TORCH_CHECK_VALUE(fits, kOp, ": expected group_sizes of [1, 1, 32] for MX operands, got ",
                    call.groups);
}

at::Tensor mx_product(const QuantProduct& call) {
  check_mx_groups(call);
  refuse("offset", call.offset);
  const bool mixed = call.x1.element != call.x2.element && *call.x2.element == Element::kE2m1;
  check_dtype("bias", call.bias, {mixed ? call.out : at::kFloat});
  const Scales scales{
      .a = mx_factors_of_rows({kOp, "pertoken_scale"}, call.token, call.m(), call.k()),
      .b = mx_factors_of_columns({kOp, "scale"}, call.scale, call.k(), call.n()),
      .group = kMxGroup,
      .powers_of_two = true};
  const at::Tensor values = scaled_product(call.x1, call.x2, scales);
  return call.bias.defined() ? values + widened(call.bias) : values;
}

// T-CG: e4m3 by fp4 in groups of 32 along K with scales of 16 bits, and a packed scale of columns.
at::Tensor fp4_group_product(const QuantProduct& call) {
  check_mx_groups(call);
  check_dtype("scale", call.scale, {call.out});
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

// K-C, K-T, and T-C, T-T of a scale in fp32 or bf16.
at::Tensor scaled_by_token(const QuantProduct& call) {
  refuse("offset", call.offset);
  if (!call.of_integers()) {
    check_dtype("scale", call.scale, {at::kFloat});
    check_dtype("bias", call.bias, {at::kFloat});
  } else if (call.out == at::kHalf) {
    check_dtype("scale", call.scale, {at::kFloat});
    check_dtype("bias", call.bias, {at::kInt, at::kFloat, at::kHalf});
  } else {
    check_dtype("scale", call.scale, {at::kFloat, at::kBFloat16});
    check_dtype("bias", call.bias, {at::kInt, at::kFloat, at::kBFloat16});
    TORCH_CHECK_VALUE(call.out == at::kBFloat16, kOp,
                      ": expected output_dtype of float16 or bfloat16 with this scale, got ",
                      call.out);
  }
  check_scale("scale", call.scale, call.n());
  Scales scales{.b = widened(call.scale)};
  if (call.token.defined()) {
    check_scale("pertoken_scale", call.token, call.m());
    scales.a = call.token.unsqueeze(-1);
  }
  const bool summed = call.bias.defined() && call.bias.scalar_type() == at::kInt;
  const at::Tensor values =
      scaled_product(call.x1, call.x2, scales, summed ? call.bias : at::Tensor{});
  return call.bias.defined() && !summed ? values + widened(call.bias) : values;
}

// The sums themselves: scales take no part.
at::Tensor integer_sums(const QuantProduct& call) {
  check_dtype("bias", call.bias, {at::kInt});
  const at::Tensor sums = unscaled_product(call.x1, call.x2).to(at::kInt);
  return call.bias.defined() ? sums + call.bias : sums;
}

}  // namespace

bool packs_scale(const at::Tensor& x1, const at::Tensor& scale, bool per_token, bool typed,
                 at::ScalarType out) {
  const bool plain_integer =
      (x1.scalar_type() == at::kChar || x1.scalar_type() == at::kInt) && !typed;
  return scale.scalar_type() == at::kFloat && !per_token && out != at::kInt &&
         (out != at::kBFloat16 || !plain_integer);
}

at::Tensor quant_product(const QuantProduct& call) {
  if (!call.of_fp8_by_fp4()) refuse("y_scale", call.result_scale);
  if (call.mx) return mx_product(call).to(call.out);
  check_dtype("pertoken_scale", call.token, {at::kFloat});
  if (call.out == at::kInt) return integer_sums(call);
  if (call.of_fp8_by_fp4()) return fp4_group_product(call).to(call.out);
  if (packs_scale(call.x1.codes, call.scale, call.token.defined(), call.typed, call.out)) {
    check_dtype("offset", call.offset, {at::kFloat});
    if (call.offset.defined()) check_scale("offset", call.offset, call.n());
    return packed_product(call, packed_scale(call.scale, call.offset, false));
  }
  if (is_packed(call.scale)) {
    refuse("pertoken_scale", call.token);
    refuse("offset", call.offset);
    return packed_product(call, call.scale);
  }
  const bool blocked = call.token.defined() && call.token.dim() >= 2 && call.scale.dim() >= 2;
  if (!blocked) return scaled_by_token(call).to(call.out);
  check_dtype("scale", call.scale, {at::kFloat});
  if (*call.x1.element == Element::kInt4) return grouped_int4_product(call).to(call.out);
  refuse("offset", call.offset);
  return block_product(call).to(call.out);
}

}  // namespace npu_sim::ops
