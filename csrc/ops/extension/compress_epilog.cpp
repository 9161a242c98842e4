// What ends a compression: rows quantised and written to their slots of a cache.
//
// kv_compress_epilog of custom_ops, a row of d values whose last 64 are the rope part:
//   quant_mode 2: [rope, E4M3 or E5M2 codes of the rest, an E8M0 scale for each 64 of them]
//   quant_mode 1: [codes, rope, an fp32 scale for each group]
// each padded with zeros to 128 bytes; a uint8 cache: HiFloat8 of all values times `scale`.
// kv_compress_epilog of cann_ops_transformer: uint8 rows, E4M3 with scales of bf16 ("fp8_bf16") or
// E8M0 ("fp8_e8m0"), or HiFloat8 rope and E2M1 codes with scales of bf16 ("hifloat8_fp4").
// indexer_compress_epilog: codes and scales of 128 in two caches, scales of fp32 (quant_mode 1) or
// E8M0 (0); quant_mode 2: HiFloat8 of all values times `scale`.
//
// Sources: cann-recipes-infer@fbc225d, ops/ascendc/docs and
// examples/test_npu_kv_compress_epilog.py, test_npu_indexer_compress_epilog.py;
// cann/ops-transformer, docs of kv_compress_epilog.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/cache/paged.h"
#include "ops/extension/block_scales.h"
#include "ops/extension/registration.h"
#include "ops/format/coded.h"
#include "ops/format/element_of.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

constexpr std::int64_t kRope = 64;
constexpr std::int64_t kTile = 64;
constexpr double kLeast = 1e-4;  // a tile's largest magnitude counts as no less in the MX form

// --- work: a row is read once and scattered to its slot; its quantisation hides behind the bytes.
template <std::size_t x, std::size_t slots, std::size_t... caches>
model::Work work(const aten::Call& call) {
  const at::Tensor& rows = call.argument(x);
  const std::int64_t count = aten::size_along(rows, 0);
  std::int64_t row = 0;
  for (const std::size_t cache : {caches...}) {
    const at::Tensor& tensor = call.argument(cache);
    row += aten::size_along(tensor, -1) * static_cast<std::int64_t>(tensor.element_size());
  }
  return model::GatherWork{.items = count,
                           .item = base::Bytes(row),
                           .index = aten::bytes_of(call.argument(slots)),
                           .written = base::Bytes(row * count),
                           .read = aten::bytes_of(rows),
                           .scatter = true};
}
constexpr aten::Entry kEntries[] = {
    {"custom::kv_compress_epilog", work<1, 2, 0>},
    {"custom::indexer_compress_epilog", work<2, 3, 0, 1>},
    {"cann_ops_transformer::kv_compress_epilog", work<1, 2, 0>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
void check_rows(const char* op, const at::Tensor& x, const at::Tensor& slots) {
  TORCH_CHECK_VALUE(x.dim() == 2 && x.numel() > 0, op,
                    ": expected x of [tokens, width] without empty axes, got ", x.sizes());
  TORCH_CHECK_VALUE(slots.dim() == 1 && slots.size(0) == x.size(0), op,
                    ": expected slot_mapping of [", x.size(0), "], one slot a token, got ",
                    slots.sizes());
  TORCH_CHECK_TYPE(slots.scalar_type() == at::kInt || slots.scalar_type() == at::kLong, op,
                   ": expected slot_mapping of int32 or int64, got ", slots.scalar_type());
}

void check_kv_rows(const char* op, const at::Tensor& x, const at::Tensor& slots) {
  check_rows(op, x, slots);
  TORCH_CHECK_TYPE(x.scalar_type() == at::kBFloat16, op, ": expected x of bfloat16, got ",
                   x.scalar_type());
  TORCH_CHECK_VALUE(x.size(1) > kRope && x.size(1) % kTile == 0, op, ": expected x wider than ",
                    kRope, " and divisible by ", kTile, ", got ", x.sizes());
}

Element fp8_of(ArgumentName name, const at::Tensor& cache) {
  const bool fp8 =
      cache.scalar_type() == at::kFloat8_e4m3fn || cache.scalar_type() == at::kFloat8_e5m2;
  TORCH_CHECK_TYPE(fp8, name.op, ": expected ", name.argument,
                   " of float8_e4m3fn or float8_e5m2, got ", cache.scalar_type());
  return cache.scalar_type() == at::kFloat8_e5m2 ? Element::kE5m2 : Element::kE4m3;
}

// --- compute
at::Tensor bytes_of(const at::Tensor& tensor) { return tensor.contiguous().view(at::kByte); }

at::Tensor padded_to(const at::Tensor& bytes, std::int64_t width) {
  return at::constant_pad_nd(bytes, {0, width - bytes.size(-1)}, 0);
}

std::int64_t rounded_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

at::Tensor codes_in_blocks(const char* op, const at::Tensor& blocks, const at::Tensor& scale,
                           Element element) {
  return codes_of(op, blocks, scale.unsqueeze(-1),
                  {.element = element, .rounding = cast_rounding(element)});
}

// HiFloat8 of values times `scale`, saturating.
at::Tensor hifloat8(const char* op, const at::Tensor& x, double scale) {
  return encoded(op, x.to(at::kFloat) * scale, Element::kHifloat8,
                 cast_rounding(Element::kHifloat8));
}

PagedCache paged(ArgumentName name, const at::Tensor& bytes) {
  const std::int64_t blocks = bytes.size(0);
  const std::int64_t width = bytes.size(-1);
  return {name,
          bytes,
          {.blocks = blocks, .tokens = bytes.numel() / width / blocks, .row_bytes = width}};
}

// Writes rows of bytes to the starts of slots of a cache, whose first axis may be strided; what
// lies behind a row that is narrower than the cache's stays.
void put(ArgumentName name, const at::Tensor& cache, const at::Tensor& rows,
         const at::Tensor& slots) {
  if (cache.is_meta()) return;
  const PagedCache into = paged(name, cache.view(at::kByte));
  const Integers places = integers_in(slots);
  at::Tensor whole = rows.contiguous();
  if (rows.size(-1) < into.row_bytes()) {
    whole = at::zeros({rows.size(0), into.row_bytes()}, rows.options());
    auto* const bytes = static_cast<std::byte*>(whole.mutable_data_ptr());
    for (std::int64_t i = 0; i < std::ssize(places); ++i) {
      const std::int64_t slot = places[static_cast<std::size_t>(i)];
      if (slot >= 0 && slot < into.slots()) into.get(slot, bytes + i * into.row_bytes());
    }
    whole.narrow(-1, 0, rows.size(-1)).copy_(rows);
  }
  put_rows({.op = name.op, .argument = "slot_mapping"}, into, whole, places);
}

struct Parts {
  at::Tensor latent;  // fp32 [tokens, width - 64]
  at::Tensor rope;    // [tokens, 64]
};

Parts parts_of(const at::Tensor& x) {
  const std::int64_t width = x.size(1) - kRope;
  return {.latent = x.narrow(1, 0, width).to(at::kFloat), .rope = x.narrow(1, width, kRope)};
}

// The codes of tiles of 64 with scales that are powers of two.
struct Tiles {
  at::Tensor codes;
  PowerScales scale;
};

Tiles power_tiles(const char* op, const at::Tensor& latent, Element element) {
  const at::Tensor blocks = in_blocks(latent, kTile);
  const at::Tensor scale =
      blocks.abs().amax(-1).clamp_min(kLeast) * (1.0F / compute::largest(element));
  Tiles tiles{.codes = {}, .scale = powers_above(scale)};
  tiles.codes = codes_in_blocks(op, blocks, tiles.scale.power, element).flatten(-2);
  return tiles;
}

// Groups of fp32 scales: that of a group of zeros is infinite, as in the operator's golden; NaN
// counts as 0.
at::Tensor grouped_row(const char* op, const Parts& parts, std::int64_t group, Element element) {
  const at::Tensor blocks = in_blocks(at::where(parts.latent.isnan(), 0.0, parts.latent), group);
  const at::Tensor largest = blocks.abs().amax(-1);
  const at::Tensor scale = at::where(largest == 0, std::numeric_limits<float>::infinity(),
                                     largest / compute::largest(element));
  const at::Tensor codes = codes_in_blocks(op, blocks, scale, element).flatten(-2);
  return at::cat({bytes_of(codes.narrow(-1, 0, parts.latent.size(-1))), bytes_of(parts.rope),
                  bytes_of(scale.to(at::kFloat))},
                 -1);
}

// --- op
void kv_compress_epilog(const at::Tensor& kv_compress_cache, const at::Tensor& x,
                        const at::Tensor& slot_mapping, std::int64_t quant_group_size,
                        std::int64_t quant_mode, bool round_scale_flag, double scale) {
  constexpr const char* kOp = "kv_compress_epilog";
  constexpr std::int64_t kLine = 128;
  constexpr ArgumentName kCache{.op = kOp, .argument = "kv_compress_cache"};
  check_kv_rows(kOp, x, slot_mapping);
  TORCH_CHECK_VALUE(kv_compress_cache.dim() >= 2 && kv_compress_cache.numel() > 0, kOp,
                    ": expected kv_compress_cache of [slots, width] without empty axes, got ",
                    kv_compress_cache.sizes());
  if (kv_compress_cache.scalar_type() == at::kByte) {
    TORCH_CHECK_VALUE(kv_compress_cache.size(-1) == x.size(1), kOp,
                      ": expected kv_compress_cache of x's width ", x.size(1), ", got ",
                      kv_compress_cache.sizes());
    return put(kCache, kv_compress_cache, hifloat8(kOp, x, scale), slot_mapping);
  }
  const Element element = fp8_of(kCache, kv_compress_cache);
  TORCH_CHECK_VALUE(quant_mode == 1 || quant_mode == 2, kOp,
                    ": expected quant_mode 1 (fp32 scales) or 2 (E8M0 scales), got ", quant_mode);
  TORCH_CHECK_VALUE(quant_group_size > 0 && (quant_mode == 1 || quant_group_size == kTile), kOp,
                    ": expected quant_group_size of ", kTile, ", got ", quant_group_size);
  TORCH_CHECK_NOT_IMPLEMENTED(quant_mode == 1 || round_scale_flag, kOp,
                              ": round_scale_flag=False is not built for E8M0 scales; the card's ",
                              "clients round them");
  const Parts parts = parts_of(x);
  at::Tensor row;
  if (quant_mode == 2) {
    const Tiles tiles = power_tiles(kOp, parts.latent, element);
    row = at::cat({bytes_of(parts.rope), bytes_of(tiles.codes), tiles.scale.code}, -1);
  } else {
    row = grouped_row(kOp, parts, quant_group_size, element);
  }
  const std::int64_t width = rounded_up(row.size(-1), kLine);
  TORCH_CHECK_VALUE(kv_compress_cache.size(-1) == width, kOp, ": expected kv_compress_cache of ",
                    width, " bytes a row, got ", kv_compress_cache.sizes());
  put(kCache, kv_compress_cache, padded_to(row, width), slot_mapping);
}

// A row of the form "hifloat8_fp4": [HiFloat8 rope, packed E2M1 codes, bf16 scales].
at::Tensor fp4_row(const char* op, const Parts& parts, std::int64_t group, double x_scale) {
  const at::Tensor blocks = in_blocks(parts.latent, group);
  const at::Tensor scale =
      (blocks.abs().amax(-1) / compute::largest(Element::kE2m1)).to(at::kBFloat16);
  const at::Tensor codes =
      codes_in_blocks(op, blocks, scale.to(at::kFloat), Element::kE2m1).flatten(-2);
  return at::cat({hifloat8(op, parts.rope, x_scale), bytes_of(codes), bytes_of(scale)}, -1);
}

void cann_kv_compress_epilog(const at::Tensor& cache, const at::Tensor& x,
                             const at::Tensor& slot_mapping, std::int64_t quant_group_size,
                             c10::string_view quant_mode, bool round_scale, double x_scale) {
  constexpr const char* kOp = "kv_compress_epilog";
  check_kv_rows(kOp, x, slot_mapping);
  TORCH_CHECK_TYPE(cache.scalar_type() == at::kByte, kOp, ": expected cache of uint8, got ",
                   cache.scalar_type());
  TORCH_CHECK_VALUE(cache.dim() == 4 && cache.size(2) == 1 && cache.numel() > 0, kOp,
                    ": expected cache of [blocks, tokens, 1, width] without empty axes, got ",
                    cache.sizes());
  std::string mode(quant_mode);
  std::transform(mode.begin(), mode.end(), mode.begin(), ::tolower);
  const bool fp4 = mode == "hifloat8_fp4";
  TORCH_CHECK_VALUE(fp4 || mode == "fp8_bf16" || mode == "fp8_e8m0", kOp,
                    ": expected quant_mode 'fp8_bf16', 'fp8_e8m0' or 'hifloat8_fp4', got '",
                    quant_mode, "'");
  TORCH_CHECK_NOT_IMPLEMENTED(fp4 || round_scale, kOp, ": round_scale=False is not built; the ",
                              "card's clients round scales to powers of two");
  const std::int64_t group = quant_group_size;
  TORCH_CHECK_VALUE(
      !fp4 || ((group == 16 || group == 32 || group == 64) && (x.size(1) - kRope) % group == 0),
      kOp, ": expected quant_group_size of 16, 32 or 64 that divides ", x.size(1) - kRope, ", got ",
      group);
  const Parts parts = parts_of(x);
  at::Tensor row;
  if (fp4) {
    row = fp4_row(kOp, parts, group, x_scale);
  } else {
    const Tiles tiles = power_tiles(kOp, parts.latent, Element::kE4m3);
    const at::Tensor scales =
        mode == "fp8_bf16" ? bytes_of(tiles.scale.power.to(at::kBFloat16)) : tiles.scale.code;
    row = at::cat({bytes_of(parts.rope), bytes_of(tiles.codes), scales}, -1);
  }
  constexpr std::int64_t kUnit = 32;
  const std::int64_t written = mode == "fp8_e8m0" ? row.size(-1) : rounded_up(row.size(-1), kUnit);
  TORCH_CHECK_VALUE(cache.size(-1) >= written, kOp, ": expected cache of at least ", written,
                    " bytes a row, got ", cache.sizes());
  put({.op = kOp, .argument = "cache"}, cache, padded_to(row, written), slot_mapping);
}

void indexer_compress_epilog(const at::Tensor& indexer_compress_cache,
                             const at::Tensor& indexer_compress_scale, const at::Tensor& x,
                             const at::Tensor& slot_mapping, std::int64_t quant_mode,
                             bool round_scale, double scale) {
  constexpr const char* kOp = "indexer_compress_epilog";
  constexpr std::int64_t kBlock = 128;
  constexpr ArgumentName kCache{.op = kOp, .argument = "indexer_compress_cache"};
  constexpr ArgumentName kScale{.op = kOp, .argument = "indexer_compress_scale"};
  check_rows(kOp, x, slot_mapping);
  TORCH_CHECK_TYPE(x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf, kOp,
                   ": expected x of bfloat16 or float16, got ", x.scalar_type());
  TORCH_CHECK_VALUE(quant_mode >= 0 && quant_mode <= 2, kOp,
                    ": expected quant_mode 0 (E8M0 scales), 1 (fp32 scales) or 2 (HiFloat8), got ",
                    quant_mode);
  const at::Tensor& cache = indexer_compress_cache;
  TORCH_CHECK_VALUE(cache.dim() >= 2 && cache.numel() > 0 && cache.size(-1) == x.size(1), kOp,
                    ": expected indexer_compress_cache of x's width ", x.size(1), ", got ",
                    cache.sizes());
  if (quant_mode == 2) {
    TORCH_CHECK_TYPE(cache.scalar_type() == at::kByte, kOp,
                     ": expected indexer_compress_cache of uint8 for HiFloat8, got ",
                     cache.scalar_type());
    return put(kCache, cache, hifloat8(kOp, x, scale), slot_mapping);
  }
  const Element element = fp8_of(kCache, cache);
  const at::Tensor blocks = in_blocks(x.to(at::kFloat), kBlock);
  const std::int64_t scales = blocks.size(-2);
  const at::ScalarType dtype = quant_mode == 1 ? at::kFloat : at::kFloat8_e8m0fnu;
  TORCH_CHECK_TYPE(indexer_compress_scale.scalar_type() == dtype, kOp,
                   ": expected indexer_compress_scale of ", dtype, " for quant_mode ", quant_mode,
                   ", got ", indexer_compress_scale.scalar_type());
  TORCH_CHECK_VALUE(
      indexer_compress_scale.dim() >= 2 && indexer_compress_scale.size(-1) == scales &&
          indexer_compress_scale.numel() * x.size(1) == cache.numel() * scales,
      kOp, ": expected indexer_compress_scale of ", scales, " scales for each row of the cache ",
      cache.sizes(), ", got ", indexer_compress_scale.sizes());
  TORCH_CHECK_NOT_IMPLEMENTED(quant_mode == 1 || round_scale, kOp,
                              ": round_scale=False is not built for E8M0 scales; the card's ",
                              "clients round them");
  at::Tensor scale_of = blocks.abs().amax(-1) / compute::largest(element);
  at::Tensor stored = scale_of;
  if (quant_mode == 0) {
    const PowerScales powers = powers_above(scale_of);
    scale_of = powers.power;
    stored = powers.code;
  }
  const at::Tensor codes =
      codes_in_blocks(kOp, blocks, scale_of, element).flatten(-2).narrow(-1, 0, x.size(1));
  put(kCache, cache, bytes_of(codes), slot_mapping);
  put(kScale, indexer_compress_scale, bytes_of(stored), slot_mapping);
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&kv_compress_epilog>(m, "kv_compress_epilog");
  composed_kernel<&indexer_compress_epilog>(m, "indexer_compress_epilog");
});
[[maybe_unused]] const bool kExtendsCann = extend("cann_ops_transformer", [](torch::Library& m) {
  composed_kernel<&cann_kv_compress_epilog>(m, "kv_compress_epilog");
});

}  // namespace
}  // namespace npu_sim::ops
