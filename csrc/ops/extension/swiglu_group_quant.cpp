// npu_swiglu_group_quant of custom_ops: SwiGLU of clamped halves, weighed a token, then quantised.
//
// quant_mode 0: fp8 with an fp32 scale for 128 values; 1: MX, fp8 whose scales are rounded up from
// no less than 1e-4 / largest, or packed E2M1. Rows past the sum of group_index, which the card
// leaves as memory was, are zeros.
// Source: cann-recipes-infer@fbc225d, ops/ascendc/docs and examples/test_npu_swiglu_group_quant.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "aten/describe/registry.h"
#include "ops/activation/gated_halves.h"
#include "ops/extension/block_scales.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"
#include "ops/quant/works.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_swiglu_group_quant";

// --- work: the activation (clamps, exp, add, divide, two products), then a scale and a cast a
// block. y_origin is written only where output_origin (argument 8) asks for it.
model::Work work(const aten::Call& call) {
  model::Work blocks = quantized_blocks<12, 2>(call);
  auto* const vector = std::get_if<model::VectorWork>(&blocks);
  if (vector != nullptr && !aten::boolean_at(call, 8, false)) {
    vector->written = vector->written - aten::bytes_of(call.result(2));
  }
  return blocks;
}
constexpr aten::Entry kEntries[] = {{"custom::npu_swiglu_group_quant", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
struct Modes {
  at::ScalarType dtype;
  std::int64_t quant;
  std::int64_t block;
  bool rounds;
};

constexpr std::int64_t kFp8Block = 128;
constexpr std::int64_t kMxBlock = 32;

Element check_modes(const Modes& modes) {
  TORCH_CHECK_VALUE(modes.quant == 0 || modes.quant == 1, kOp,
                    ": expected quant_mode 0 (blocks of fp8) or 1 (MX), got ", modes.quant);
  const bool mx = modes.quant == 1;
  const std::int64_t block = mx ? kMxBlock : kFp8Block;
  TORCH_CHECK_VALUE(modes.block == 0 || modes.block == block, kOp, ": expected block_size 0 or ",
                    block, " for quant_mode ", modes.quant, ", got ", modes.block);
  TORCH_CHECK_VALUE(modes.rounds == mx, kOp, ": expected round_scale=", mx ? "True" : "False",
                    " for quant_mode ", modes.quant);
  if (modes.dtype == at::kFloat8_e4m3fn) return Element::kE4m3;
  if (modes.dtype == at::kFloat8_e5m2) return Element::kE5m2;
  TORCH_CHECK_TYPE(modes.dtype == at::kFloat4_e2m1fn_x2 && mx, kOp,
                   ": expected dst_type of float8_e4m3fn or float8_e5m2, or of float4_e2m1fn_x2 ",
                   "for quant_mode 1, got ", modes.dtype);
  return Element::kE2m1;
}

void check(const at::Tensor& x, const MaybeTensor& weight, const MaybeTensor& group_index,
           const std::optional<double>& limit) {
  constexpr std::int64_t kUnit = 2 * kFp8Block;
  TORCH_CHECK_TYPE(x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, kOp,
                   ": expected x of float16 or bfloat16, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.size(-1) > 0 && x.size(-1) % kUnit == 0, kOp,
                    ": expected x of a width divisible by ", kUnit, ", got ", x.sizes());
  const std::int64_t tokens = x.numel() / x.size(-1);
  TORCH_CHECK_VALUE(!given(weight) || weight->numel() == tokens, kOp, ": expected weight of ",
                    tokens, " elements, one a token, got ",
                    given(weight) ? weight->sizes() : at::IntArrayRef{});
  TORCH_CHECK_TYPE(!given(weight) || weight->scalar_type() == at::kFloat, kOp,
                   ": expected weight of float32, got ",
                   given(weight) ? weight->scalar_type() : at::kFloat);
  TORCH_CHECK_TYPE(!given(group_index) || group_index->scalar_type() == at::kLong, kOp,
                   ": expected group_index of int64, got ",
                   given(group_index) ? group_index->scalar_type() : at::kLong);
  TORCH_CHECK_VALUE(!limit.has_value() || *limit >= 0, kOp,
                    ": expected clamp_limit of 0 or more, got ", limit.value_or(0));
}

// Tokens of all groups, which are the first ones; all tokens without groups.
std::int64_t tokens_of(const MaybeTensor& group_index, std::int64_t all) {
  if (!given(group_index) || group_index->is_meta()) return all;
  std::int64_t sum = 0;
  for (const std::int64_t count : integers_in(*group_index)) {
    TORCH_CHECK_VALUE(count >= 0, kOp, ": expected group_index of counts, got ", count);
    sum += count;
  }
  TORCH_CHECK_VALUE(sum <= all, kOp, ": expected group_index that adds up to at most ", all,
                    " tokens, got ", sum);
  return sum;
}

// --- compute
// fp32 [tokens, width / 2].
at::Tensor activated(const at::Tensor& x, const MaybeTensor& weight,
                     const std::optional<double>& limit) {
  GatedHalves halves = gated_halves(kOp, x.reshape({-1, x.size(-1)}), -1, /*gate_first=*/true);
  if (limit.has_value()) {
    halves.gate = halves.gate.clamp(std::nullopt, *limit);
    halves.value = halves.value.clamp(-*limit, *limit);
  }
  const at::Tensor y = at::silu(halves.gate).mul_(halves.value);
  return given(weight) ? y * weight->reshape({-1, 1}) : y;
}

Quantized block_quantized(const at::Tensor& y, Element element) {
  const at::Tensor blocks = in_blocks(y, kFp8Block);
  const at::Tensor scale = blocks.abs().amax(-1) / compute::largest(element);
  return {.codes = codes_of(kOp, blocks, scale.unsqueeze(-1), {.element = element}).flatten(-2),
          .scale = scale};
}

// Scales of an odd number of blocks get a zero beside the last.
at::Tensor in_pairs(const at::Tensor& codes) { return in_blocks(codes, 2); }

Quantized mx_fp8_quantized(const at::Tensor& y, Element element) {
  constexpr double kLeast = 1e-4;
  const at::Tensor blocks = in_blocks(y, kMxBlock);
  const PowerScales scale =
      powers_above(blocks.abs().amax(-1).clamp_min(kLeast) / compute::largest(element));
  return {
      .codes = codes_of(kOp, blocks, scale.power.unsqueeze(-1), {.element = element}).flatten(-2),
      .scale = in_pairs(scale.code).view(at::kFloat8_e8m0fnu)};
}

Quantized quantized(const at::Tensor& y, Element element, bool mx) {
  if (!mx) return block_quantized(y, element);
  if (element != Element::kE2m1) return mx_fp8_quantized(y, element);
  // The shared exponent is that of the largest magnitude in bf16.
  const Quantized fp4 = mx_quantize(kOp, y.to(at::kBFloat16), {.element = element});
  return {.codes = fp4.codes, .scale = fp4.scale.view(at::kFloat8_e8m0fnu)};
}

at::Tensor shaped(const at::Tensor& rows, const at::Tensor& x) {
  std::vector<std::int64_t> sizes(x.sizes().begin(), x.sizes().end() - 1);
  sizes.insert(sizes.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.view(sizes);
}

// --- op
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three swiglu_group_quant(const at::Tensor& x, const MaybeTensor& weight,
                         const MaybeTensor& group_index, at::ScalarType dst_type,
                         std::int64_t quant_mode, std::int64_t block_size, bool round_scale,
                         std::optional<double> clamp_limit, bool /*output_origin: always given*/) {
  const Element element = check_modes({dst_type, quant_mode, block_size, round_scale});
  check(x, weight, group_index, clamp_limit);
  const std::int64_t all = x.numel() / x.size(-1);
  const std::int64_t tokens = tokens_of(group_index, all);
  const at::Tensor y = activated(x, weight, clamp_limit);
  const Quantized result = quantized(y, element, quant_mode == 1);
  at::Tensor codes = result.codes;
  at::Tensor origin = y.to(x.scalar_type());
  if (element == Element::kE2m1) origin = at::zeros(codes.sizes(), origin.options());
  for (at::Tensor tensor : {codes, result.scale, origin}) {
    if (tokens < all) tensor.narrow(0, tokens, all - tokens).view(at::kByte).zero_();
  }
  return {shaped(codes, x), shaped(result.scale, x), shaped(origin, x)};
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&swiglu_group_quant>(m, "npu_swiglu_group_quant");
});

}  // namespace
}  // namespace npu_sim::ops
