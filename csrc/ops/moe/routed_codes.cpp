// Sources: the documentation of npu_moe_init_routing_v2 in Ascend/op-plugin, and its test of the
// operator for Ascend950 (test_npu_moe_init_routing_v2.py).
#include "ops/moe/routed_codes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>

#include "ops/format/coded.h"
#include "ops/precision.h"
#include "ops/quant/mx.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

enum class Kind : std::uint8_t {
  kStatic,   // value * scale + offset, in float16
  kToken,    // a scale a row
  kMx,       // MX blocks, scales rounded up
  kMxFloor,  // MX blocks, scales rounded down
  kGroup,    // 128 elements share a power of two in fp32
  kBlock,    // 128 elements share a scale in fp32
  kCast,     // the values themselves
  kTensor,   // value * scale
};

struct Mode {
  std::int64_t number;
  Kind kind;
  Element element;
  double least = 0;
};

constexpr double kLeast = 1e-4;
constexpr Mode kModes[] = {
    {0, Kind::kStatic, Element::kInt8},
    {1, Kind::kToken, Element::kInt8},
    {2, Kind::kMx, Element::kE5m2},
    {3, Kind::kMx, Element::kE4m3},
    {4, Kind::kGroup, Element::kE5m2},
    {5, Kind::kGroup, Element::kE4m3},
    {6, Kind::kCast, Element::kHifloat8},
    {7, Kind::kTensor, Element::kHifloat8},
    {8, Kind::kToken, Element::kHifloat8},
    {9, Kind::kMxFloor, Element::kE2m1},
    {11, Kind::kBlock, Element::kE5m2},
    {12, Kind::kBlock, Element::kE4m3},
    {13, Kind::kToken, Element::kInt4},
    {14, Kind::kGroup, Element::kE5m2, kLeast},
    {15, Kind::kGroup, Element::kE4m3, kLeast},
    {16, Kind::kMx, Element::kE5m2, kLeast},
    {17, Kind::kMx, Element::kE4m3, kLeast},
};

constexpr std::int64_t kMxBlock = 32;
constexpr std::int64_t kGroupSize = 128;

Mode mode_of(const char* op, std::int64_t number) {
  const auto* const found = std::ranges::find(kModes, number, &Mode::number);
  TORCH_CHECK_VALUE(found != std::end(kModes), op,
                    ": expected quant_mode of -1 to 9 or 11 to 17, got ", number);
  return *found;
}

bool is_integer(const Mode& mode) {
  return mode.element == Element::kInt8 || mode.element == Element::kInt4;
}

void check_dtype(const char* op, const at::Tensor& x, const Mode& mode) {
  const at::ScalarType dtype = x.scalar_type();
  const bool narrow = dtype == at::kHalf || dtype == at::kBFloat16;
  if (mode.element == Element::kInt4) {
    TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kBFloat16, op,
                     ": expected x of float32 or bfloat16 for quant_mode 13, got ", dtype);
    return;
  }
  TORCH_CHECK_TYPE(narrow || (dtype == at::kFloat && is_integer(mode)), op,
                   ": expected x of float16, bfloat16", is_integer(mode) ? " or float32" : "",
                   " for quant_mode ", mode.number, ", got ", dtype);
}

void check_smoothing(const char* op, const at::Tensor& x, const RowQuantisation& quantisation,
                     bool by_expert) {
  TORCH_CHECK_VALUE(!given(quantisation.offset), op, ": expected no offset for quant_mode ",
                    quantisation.mode, ", got one");
  if (!given(quantisation.scale)) return;
  const at::Tensor& scale = *quantisation.scale;
  TORCH_CHECK_TYPE(scale.scalar_type() == at::kFloat, op, ": expected scale of float32, got ",
                   scale.scalar_type());
  const bool fits = scale.dim() == 2 && scale.size(1) == x.size(1) &&
                    (scale.size(0) == 1 || (by_expert && scale.size(0) == quantisation.experts));
  TORCH_CHECK_VALUE(fits, op, ": expected scale of [1, ", x.size(1), "]",
                    by_expert ? " or of a row for each served expert" : "", ", got ",
                    scale.sizes());
}

void check_single(const char* op, const char* argument, const MaybeTensor& value,
                  std::int64_t mode) {
  TORCH_CHECK_VALUE(given(value) && value->numel() == 1, op, ": expected ", argument,
                    " of [1] for quant_mode ", mode, ", got ",
                    given(value) ? value->sizes() : at::IntArrayRef{});
}

at::Tensor one(const MaybeTensor& value, at::ScalarType dtype) {
  return value->reshape({}).to(dtype);
}

// The last axis in blocks, the last one filled up with zeros: [..., blocks, size].
at::Tensor in_blocks(const at::Tensor& values, std::int64_t size) {
  const std::int64_t rest = values.size(-1) % size;
  const at::Tensor whole = rest == 0 ? values : at::constant_pad_nd(values, {0, size - rest});
  return whole.unflatten(-1, {whole.size(-1) / size, size});
}

// What the codes of blocks are as rows of `columns` again.
at::Tensor in_rows(const at::Tensor& blocks, std::int64_t columns) {
  return blocks.flatten(-2).narrow(-1, 0, columns).contiguous();
}

// The largest magnitude of each block; infinity where a value is not finite.
at::Tensor magnitudes(const at::Tensor& blocks) {
  const at::Tensor most = blocks.abs().amax(-1);
  return at::where(most.isfinite(), most, std::numeric_limits<double>::infinity()).to(at::kFloat);
}

constexpr std::int64_t kMantissaBits = 23;
constexpr std::int64_t kMantissa = (1 << kMantissaBits) - 1;
constexpr std::int64_t kExponent = 0xFF << kMantissaBits;
constexpr std::int64_t kBFloat16Bits = -(1 << 16);

at::Tensor bits_of(const at::Tensor& values) { return values.contiguous().view(at::kInt); }

// `scale` (fp32, not negative) rounded up to a power of two; 0 and infinity stay.
at::Tensor power_above(const at::Tensor& scale) {
  return (bits_of(scale) + kMantissa).bitwise_and(kExponent).view(at::kFloat);
}

at::Tensor padded_to_even(const at::Tensor& scales) {
  return scales.size(-1) % 2 == 0 ? scales : at::constant_pad_nd(scales, {0, 1});
}

double largest_of(Element element) { return static_cast<double>(compute::largest(element)); }

// Codes of int4 two to a byte, for rows of any even width.
Quantized int4_rows(const char* op, const at::Tensor& values) {
  constexpr std::int64_t kPacked = 8;
  const std::int64_t columns = values.size(-1);
  TORCH_CHECK_VALUE(columns % 2 == 0, op, ": expected an even width of x for quant_mode 13, got ",
                    columns);
  const std::int64_t rest = columns % kPacked;
  const at::Tensor whole = rest == 0 ? values : at::constant_pad_nd(values, {0, kPacked - rest});
  const Quantized packed = quantize_rows(op, whole, {.element = Element::kInt4});
  return {.codes = packed.codes.view(at::kByte).narrow(-1, 0, columns / 2).contiguous(),
          .scale = packed.scale};
}

Quantized token_codes(const char* op, const RoutedRows& rows, Element element,
                      const MaybeTensor& scale) {
  at::Tensor values = rows.values.to(at::kFloat);
  // Rows in HiFloat8 are not smoothed: op-plugin's test passes a scale and expects none.
  if (given(scale) && element != Element::kHifloat8) {
    values = values * (scale->size(0) == 1 ? *scale : scale->index_select(0, rows.expert));
  }
  if (element == Element::kInt4) return int4_rows(op, values);
  return quantize_rows(op, values, {.element = element, .rounding = cast_rounding(element)});
}

at::Tensor static_codes(const char* op, const RoutedRows& rows,
                        const RowQuantisation& quantisation) {
  const at::Tensor scaled = rows.values.to(at::kHalf) * one(quantisation.scale, at::kHalf) +
                            one(quantisation.offset, at::kHalf);
  const at::Tensor kept = at::where(rows.there.unsqueeze(-1), scaled, 0.0);
  return encoded(op, kept.to(at::kFloat), Element::kInt8, compute::Rounding::kRint);
}

at::Tensor hifloat8_codes(const char* op, const at::Tensor& values) {
  return encoded(op, values, Element::kHifloat8, cast_rounding(Element::kHifloat8));
}

Quantized without_scale(const at::Tensor& codes) {
  return {.codes = codes, .scale = at::zeros({codes.size(0)}, codes.options().dtype(at::kFloat))};
}

}  // namespace

void check_quantisation(const char* op, const at::Tensor& x, const RowQuantisation& quantisation) {
  const Mode mode = mode_of(op, quantisation.mode);
  check_dtype(op, x, mode);
  if (mode.kind == Kind::kStatic || mode.kind == Kind::kTensor) {
    check_single(op, "scale", quantisation.scale, mode.number);
  }
  if (mode.kind == Kind::kStatic) check_single(op, "offset", quantisation.offset, mode.number);
  if (mode.kind == Kind::kToken && is_integer(mode)) {
    check_smoothing(op, x, quantisation, /*by_expert=*/mode.element == Element::kInt8);
  }
}

Quantized mx_row_codes(const char* op, const at::Tensor& values, const ScaledBlocks& blocks) {
  const at::Tensor wide = in_blocks(widened(values), blocks.size);
  at::Tensor most = magnitudes(wide);
  if (values.scalar_type() == at::kHalf) {
    most = bits_of(most).bitwise_and(kBFloat16Bits).view(at::kFloat);
  }
  const at::Tensor power = power_above(most.clamp_min(blocks.least) / largest_of(blocks.element));
  const at::Tensor scale =
      at::where(power.isfinite(), power, std::numeric_limits<double>::quiet_NaN());
  const at::Tensor codes = codes_of(op, wide, scale.unsqueeze(-1), {.element = blocks.element});
  const at::Tensor exponents = bits_of(power).bitwise_right_shift(kMantissaBits).to(at::kByte);
  return {.codes = in_rows(codes, values.size(-1)), .scale = padded_to_even(exponents)};
}

Quantized group_row_codes(const char* op, const at::Tensor& values, const ScaledBlocks& blocks) {
  const at::Tensor wide = in_blocks(widened(values), blocks.size);
  const at::Tensor most = magnitudes(wide).clamp_min(blocks.least);
  const at::Tensor scale = power_above(most / largest_of(blocks.element));
  const at::Tensor codes = codes_of(op, wide, scale.unsqueeze(-1), {.element = blocks.element});
  return {.codes = in_rows(codes, values.size(-1)), .scale = scale};
}

Quantized tile_row_codes(const char* op, const at::Tensor& values, const ScaledBlocks& blocks) {
  const at::Tensor wide = in_blocks(widened(values), blocks.size);
  const at::Tensor raw = magnitudes(wide).clamp_min(blocks.least) / largest_of(blocks.element);
  const at::Tensor scale = at::where(raw < std::numeric_limits<float>::min(), 0.0, raw);
  const at::Tensor codes = codes_of(op, wide, scale.unsqueeze(-1), {.element = blocks.element});
  return {.codes = in_rows(codes, values.size(-1)), .scale = scale.to(at::kFloat)};
}

Quantized routed_codes(const char* op, const RoutedRows& rows,
                       const RowQuantisation& quantisation) {
  const Mode mode = mode_of(op, quantisation.mode);
  const at::Tensor& values = rows.values;
  switch (mode.kind) {
    case Kind::kStatic: return without_scale(static_codes(op, rows, quantisation));
    case Kind::kToken: return token_codes(op, rows, mode.element, quantisation.scale);
    case Kind::kMx: {
      const Quantized codes = mx_row_codes(op, values, {mode.element, kMxBlock, mode.least});
      return {.codes = codes.codes, .scale = codes.scale.view(at::kFloat8_e8m0fnu)};
    }
    case Kind::kMxFloor: return mx_quantize(op, values, {.element = mode.element});
    case Kind::kGroup: return group_row_codes(op, values, {mode.element, kGroupSize, mode.least});
    case Kind::kBlock: {
      const Quantized codes = tile_row_codes(op, values, {mode.element, kGroupSize, mode.least});
      const at::Tensor even = padded_to_even(codes.scale);
      return {.codes = codes.codes, .scale = even.unflatten(-1, {even.size(-1) / 2, 2})};
    }
    case Kind::kCast: return without_scale(hifloat8_codes(op, values));
    case Kind::kTensor:
      return without_scale(
          hifloat8_codes(op, values.to(at::kFloat) * one(quantisation.scale, at::kFloat)));
  }
  return {};
}

}  // namespace npu_sim::ops
