// npu_kv_quant_sparse_flash_attention: attention to chosen keys that a cache holds as packed bytes.
//
// A key is [latent codes of one byte, rope in query's dtype, fp32 scales of its tiles] (656 bytes
// for 512 + 64 and tiles of 128), value the latent part. Keys are dequantised to query's dtype.
// Source: op-plugin@517f2e7d, docs and test.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/sparse/selected_attention.h"
#include "ops/sparse/selected_work.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: packed bytes are read and converted to query's dtype; the latent part is the value.
constexpr SpanArguments kSpans{
    .query_lengths = 10, .key_lengths = 11, .query_layout = 13, .key_layout = 14, .block_table = 9};
model::Work work(const aten::Call& call) {
  const at::Tensor& query = call.argument(0);
  const std::int64_t width = aten::size_along(query, -1);
  return selected_work(call, kSpans,
                       {.indices = 3,
                        .sparse_mode = 15,
                        .block_size = aten::integer_at(call, 12, 1),
                        .qk_dim = width,
                        .v_dim = width - aten::integer_at(call, 21, 64),
                        .format = aten::format_of(query),
                        .kv_row = base::Bytes(aten::size_along(aten::tensor_at(call, 1), -1))});
}
constexpr aten::Entry kEntries[] = {{"npu_kv_quant_sparse_flash_attention", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kOp = "npu_kv_quant_sparse_flash_attention";

// Widths of the parts of a packed key.
struct Packing {
  std::int64_t latent = 0;
  std::int64_t rope = 0;
  std::int64_t tile = 128;
  [[nodiscard]] std::int64_t bytes(std::int64_t element) const {
    return latent + rope * element + latent / tile * static_cast<std::int64_t>(sizeof(float));
  }
};

struct Modes {
  std::int64_t key = 0;
  std::int64_t value = 0;
  std::int64_t attention = 0;
  std::int64_t scales = 0;
};

void check_modes(const Modes& modes) {
  TORCH_CHECK_VALUE(modes.key == 2 && modes.value == 2, kOp,
                    ": expected key_quant_mode and value_quant_mode 2 (a scale a tile), got ",
                    modes.key, " and ", modes.value);
  TORCH_CHECK_VALUE(modes.attention == 2, kOp,
                    ": expected attention_mode 2 (absorbed MLA), the only one of the card, got ",
                    modes.attention);
  TORCH_CHECK_VALUE(modes.scales == 1, kOp,
                    ": expected quant_scale_repo_mode 1 (scales beside the data), got ",
                    modes.scales);
}

Packing packing_of(const at::Tensor& query, const at::Tensor& key, std::int64_t tile,
                   std::int64_t rope) {
  const Packing packing{.latent = query.size(-1) - rope, .rope = rope, .tile = tile};
  TORCH_CHECK_VALUE(tile > 0 && rope >= 0 && packing.latent > 0 && packing.latent % tile == 0, kOp,
                    ": expected tile_size that divides query's latent width ", packing.latent,
                    ", got ", tile);
  const std::int64_t bytes = packing.bytes(static_cast<std::int64_t>(query.element_size()));
  TORCH_CHECK_VALUE(key.size(-1) == bytes, kOp, ": expected key of ", bytes,
                    " bytes a token (latent, rope, scales), got ", key.sizes());
  return packing;
}

compute::Element element_in(const at::Tensor& key, std::optional<std::int64_t> dtype) {
  const std::optional<compute::Element> element = element_of(key, dtype);
  const bool known = element == compute::Element::kInt8 || element == compute::Element::kE4m3 ||
                     element == compute::Element::kHifloat8;
  TORCH_CHECK_TYPE(known && key.element_size() == 1, kOp,
                   ": expected key of int8, float8_e4m3fn, or uint8 with key_dtype hifloat8, got ",
                   key.scalar_type());
  return *element;
}

struct Shapes {
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& indices;
  std::string_view layout_query;
  std::string_view layout_key;
  std::int64_t block_size;
};

void check_shapes(const Shapes& on) {
  check_layouts(kOp, on.layout_query, on.layout_key);
  const std::int64_t axes = on.layout_query == "TND" ? 3 : 4;
  TORCH_CHECK_TYPE(on.query.scalar_type() == at::kBFloat16 || on.query.scalar_type() == at::kHalf,
                   kOp, ": expected query of bfloat16 or float16, got ", on.query.scalar_type());
  TORCH_CHECK_VALUE(on.query.dim() == axes && on.query.numel() > 0, kOp, ": expected query of ",
                    axes, " axes in layout ", on.layout_query, ", none of them empty, got ",
                    on.query.sizes());
  TORCH_CHECK_VALUE(on.key.dim() == (on.layout_key == "TND" ? 3 : 4) && on.key.numel() > 0 &&
                        on.key.size(-2) == 1,
                    kOp, ": expected key of layout ", on.layout_key,
                    " with one head and no empty axis, got ", on.key.sizes());
  std::vector<std::int64_t> chosen = on.query.sizes().vec();
  chosen[chosen.size() - 2] = 1;
  chosen.back() = on.indices.dim() == axes ? on.indices.size(-1) : 0;
  TORCH_CHECK_VALUE(on.indices.sizes() == chosen && chosen.back() > 0, kOp,
                    ": expected sparse_indices of query's tokens, one head and at least one ",
                    "block, got ", on.indices.sizes(), " for query ", on.query.sizes());
  TORCH_CHECK_TYPE(on.indices.scalar_type() == at::kInt, kOp,
                   ": expected sparse_indices of int32, got ", on.indices.scalar_type());
  TORCH_CHECK_VALUE(on.block_size >= 1 && on.block_size <= 128, kOp,
                    ": expected sparse_block_size in [1, 128], got ", on.block_size);
}

// --- compute
struct Unpacked {
  at::Tensor latent;  // fp32 values of query's dtype
  at::Tensor rope;
};

// rows [keys, bytes] of uint8.
Unpacked unpacked(const at::Tensor& rows, const Packing& packing, compute::Element element,
                  at::ScalarType dtype) {
  const auto item = static_cast<std::int64_t>(c10::elementSize(dtype));
  const at::Tensor codes = rows.narrow(-1, 0, packing.latent).contiguous();
  const at::Tensor rope = rows.narrow(-1, packing.latent, packing.rope * item).contiguous();
  const std::int64_t tiles = packing.latent / packing.tile;
  const at::Tensor scales = rows.narrow(-1, packing.latent + packing.rope * item, tiles * 4)
                                .contiguous()
                                .view(at::kFloat);
  const at::Tensor latent =
      (decoded(codes, element).unflatten(-1, {tiles, packing.tile}) * scales.unsqueeze(-1))
          .flatten(-2);
  return {.latent = latent.to(dtype).to(at::kFloat), .rope = widened(rope.view(dtype))};
}

struct Plan {
  Packing packing;
  compute::Element element = compute::Element::kInt8;
  double scale = 1;
  std::int64_t block_size = 1;
  std::int64_t sparse_mode = 3;
};

at::Tensor attention(const Shapes& on, const std::vector<Sequence>& sequences, const Keys& keys,
                     const Plan& plan) {
  const std::int64_t heads = on.query.size(-2);
  const at::Tensor query = on.query.reshape({-1, heads, on.query.size(-1)});
  const at::Tensor bytes = on.key.view(at::kByte);
  const at::Tensor indices = on.indices.contiguous();
  const std::int64_t count = indices.size(-1);
  const auto* const blocks = indices.const_data_ptr<std::int32_t>();
  const at::Tensor out = at::zeros({query.size(0), heads, plan.packing.latent}, query.options());
  for (std::int64_t s = 0; s < std::ssize(sequences); ++s) {
    const Sequence& queries = sequences[static_cast<std::size_t>(s)];
    at::parallel_for(0, queries.length, 1, [&](std::int64_t begin, std::int64_t end) {
      const at::AutoDispatchBelowAutograd below;
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = queries.first + i;
        const Integers positions =
            selected_positions(blocks + row * count, count, plan.block_size,
                               visible(plan.sparse_mode, keys.length(s), queries.length, i));
        const Unpacked key = unpacked(keys.rows(bytes, s, positions, 0), plan.packing, plan.element,
                                      on.query.scalar_type());
        const at::Tensor wide = at::cat({key.latent, key.rope}, -1);
        out[row].copy_(attend(widened(query[row]), wide, key.latent, plan.scale, {}).out);
      }
    });
  }
  return out;
}

at::Tensor kv_quant_sparse_flash_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& sparse_indices, double scale_value, std::int64_t key_quant_mode,
    std::int64_t value_quant_mode, const MaybeTensor& /*key_dequant_scale: reserved*/,
    const MaybeTensor& /*value_dequant_scale: reserved*/, const MaybeTensor& block_table,
    const MaybeTensor& actual_seq_lengths_query, const MaybeTensor& actual_seq_lengths_kv,
    std::int64_t sparse_block_size, c10::string_view layout_query, c10::string_view layout_kv,
    std::int64_t sparse_mode, std::int64_t pre_tokens, std::int64_t next_tokens,
    std::int64_t attention_mode, std::int64_t quant_scale_repo_mode, std::int64_t tile_size,
    std::int64_t rope_head_dim, std::optional<std::int64_t> key_dtype,
    std::optional<std::int64_t> /*value_dtype*/) {
  const Shapes on{query, key, sparse_indices, layout_query, layout_kv, sparse_block_size};
  check_modes({key_quant_mode, value_quant_mode, attention_mode, quant_scale_repo_mode});
  check_shapes(on);
  check_masking(kOp, {sparse_mode, pre_tokens, next_tokens});
  const Plan plan{.packing = packing_of(query, key, tile_size, rope_head_dim),
                  .element = element_in(key, key_dtype),
                  .scale = scale_value,
                  .block_size = sparse_block_size,
                  .sparse_mode = sparse_mode};
  TORCH_CHECK_TYPE(value.scalar_type() == key.scalar_type(), kOp, ": expected value of key's ",
                   key.scalar_type(), ", got ", value.scalar_type());
  std::vector<std::int64_t> sizes = query.sizes().vec();
  sizes.back() = plan.packing.latent;
  if (query.is_meta()) return at::empty(sizes, query.options());
  const std::vector<Sequence> sequences =
      query_sequences({.op = kOp, .argument = "actual_seq_lengths_query"}, query, layout_query,
                      integers_if_given({.op = kOp, .argument = "actual_seq_lengths_query"},
                                        actual_seq_lengths_query));
  const Keys keys(
      {.op = kOp, .name = layout_kv, .lengths = "actual_seq_lengths_kv"}, key,
      integers_if_given({.op = kOp, .argument = "actual_seq_lengths_kv"}, actual_seq_lengths_kv),
      block_table, std::ssize(sequences));
  return attention(on, sequences, keys, plan).view(sizes);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&kv_quant_sparse_flash_attention>(m, "npu_kv_quant_sparse_flash_attention");
}

}  // namespace
}  // namespace npu_sim::ops
