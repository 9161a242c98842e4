// npu_scatter_pa_kv_cache, its functional form and npu_scatter_pa_cache: keys and values of tokens
// into the slots of a paged cache. slot = block * tokens of a block + place in the block.
//
// key [T, heads, width]; a cache is [blocks, tokens, heads, width] in cache_mode None or 'Norm' and
// [blocks, heads width / piece, tokens, piece] in 'PA_NZ'. Source: op-plugin@517f2e7d.
#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/cache/copied_first.h"
#include "ops/cache/paged.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/sparse/sequences.h"

namespace npu_sim::ops {
namespace {

// --- work: pieces of a row scattered; in layout NZ a piece is one row of a fractal.
model::Work scattered(const aten::Call& call, std::size_t slots, bool fractal,
                      std::initializer_list<std::size_t> inputs) {
  model::GatherWork work{.index = aten::bytes_of(aten::tensor_at(call, slots)), .scatter = true};
  std::int64_t rows = 0;
  for (const std::size_t i : inputs) {
    const at::Tensor& tensor = aten::tensor_at(call, i);
    work.read += aten::bytes_of(tensor);
    rows += aten::size_along(tensor, 0);
  }
  constexpr std::int64_t kFractalBytes = 32;
  const std::int64_t item = fractal ? kFractalBytes : aten::ratio(work.read.count(), rows);
  work.items = aten::ratio(work.read.count(), item);
  work.item = base::Bytes(item);
  work.written = work.read;
  return work;
}

model::Work scatter_kv_work(const aten::Call& call) {
  return scattered(call, 4, text_at(call, 8, "Norm").find("NZ") != std::string_view::npos, {0, 1});
}
model::Work scatter_work(const aten::Call& call) { return scattered(call, 1, false, {0}); }
constexpr aten::Describer kScatter[] = {scatter_kv_work};
constexpr aten::Entry kEntries[] = {
    {"npu_scatter_pa_kv_cache", scatter_kv_work},
    {"npu_scatter_pa_kv_cache_functional", copied_first<2, 3>, kScatter},
    {"npu_scatter_pa_cache", scatter_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct CompressionArguments {
  const MaybeTensor& lens;
  const MaybeTensor& offsets;
  const MaybeTensor& seq_lens;
};

void refuse_compression(const char* op, const at::Tensor& key, const CompressionArguments& form) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      key.dim() != 4 && !given(form.lens) && !given(form.offsets) && !given(form.seq_lens), op,
      ": the form with compress_lens, compress_seq_offsets and seq_lens is not built yet");
}

void check_tokens(ArgumentName name, const at::Tensor& tokens, const at::Tensor& cache,
                  const CacheShape& shape, const at::Tensor& slots) {
  TORCH_CHECK_VALUE(tokens.dim() == 3, name.op, ": expected ", name.argument,
                    " of [tokens, heads, width], got ", tokens.sizes());
  TORCH_CHECK_TYPE(tokens.scalar_type() == cache.scalar_type(), name.op, ": expected ",
                   name.argument, " of its cache's ", cache.scalar_type(), ", got ",
                   tokens.scalar_type());
  const std::int64_t bytes =
      tokens.size(1) * tokens.size(2) * static_cast<std::int64_t>(tokens.element_size());
  TORCH_CHECK_VALUE(bytes == shape.row_bytes, name.op, ": expected ", name.argument, " of ",
                    shape.row_bytes, " bytes a token, as its cache ", cache.sizes(), " has, got ",
                    tokens.sizes());
  TORCH_CHECK_VALUE(slots.dim() == 1 && slots.size(0) == tokens.size(0), name.op,
                    ": expected slot_mapping of [", tokens.size(0), "], one slot a token, got ",
                    slots.sizes());
}

bool is_fractal(const char* op, const std::optional<c10::string_view>& mode) {
  if (!mode.has_value() || *mode == "Norm") return false;
  TORCH_CHECK_VALUE(*mode == "PA_NZ", op, ": expected cache_mode None, 'Norm' or 'PA_NZ', got '",
                    *mode, "'");
  return true;
}

CacheShape shape_in(ArgumentName name, const at::Tensor& cache, bool fractal) {
  return fractal ? shape_of_fractals(name, cache)
                 : shape_of_blocks(name, cache, CacheLayout::kRows);
}

struct Kv {
  const at::Tensor& key;
  const at::Tensor& value;
  const at::Tensor& key_cache;
  const at::Tensor& value_cache;
};

void check_kv(const char* op, const Kv& kv, const at::Tensor& slots, bool fractal) {
  check_tokens({op, "key"}, kv.key, kv.key_cache,
               shape_in({op, "key_cache"}, kv.key_cache, fractal), slots);
  check_tokens({op, "value"}, kv.value, kv.value_cache,
               shape_in({op, "value_cache"}, kv.value_cache, fractal), slots);
}

// --- compute
void scatter(const char* op, const at::Tensor& tokens, const at::Tensor& cache, bool fractal,
             const at::Tensor& slot_mapping) {
  const ArgumentName name{.op = op, .argument = "key_cache or value_cache"};
  const PagedCache paged(name, cache, shape_in(name, cache, fractal));
  const ArgumentName slots{.op = op, .argument = "slot_mapping"};
  put_rows(slots, paged, tokens.contiguous(), integers_of(slots, slot_mapping));
}

void scatter_pa_kv_cache(const at::Tensor& key, const at::Tensor& value, at::Tensor& key_cache,
                         at::Tensor& value_cache, const at::Tensor& slot_mapping,
                         const MaybeTensor& compress_lens, const MaybeTensor& compress_seq_offsets,
                         const MaybeTensor& seq_lens, std::optional<c10::string_view> cache_mode) {
  constexpr const char* kOp = "npu_scatter_pa_kv_cache";
  refuse_compression(kOp, key, {compress_lens, compress_seq_offsets, seq_lens});
  const bool fractal = is_fractal(kOp, cache_mode);
  check_kv(kOp, {key, value, key_cache, value_cache}, slot_mapping, fractal);
  if (key.is_meta()) return;
  scatter(kOp, key, key_cache, fractal, slot_mapping);
  scatter(kOp, value, value_cache, fractal, slot_mapping);
}

std::tuple<at::Tensor, at::Tensor> scatter_pa_kv_cache_functional(
    const at::Tensor& key, const at::Tensor& value, const at::Tensor& key_cache,
    const at::Tensor& value_cache, const at::Tensor& slot_mapping, const MaybeTensor& compress_lens,
    const MaybeTensor& compress_seq_offsets, const MaybeTensor& seq_lens,
    std::optional<c10::string_view> cache_mode) {
  at::Tensor new_keys = key_cache.clone(at::MemoryFormat::Contiguous);
  at::Tensor new_values = value_cache.clone(at::MemoryFormat::Contiguous);
  scatter_pa_kv_cache(key, value, new_keys, new_values, slot_mapping, compress_lens,
                      compress_seq_offsets, seq_lens, cache_mode);
  return {new_keys, new_values};
}

at::Tensor& scatter_pa_cache(const at::Tensor& key, const at::Tensor& slot_mapping,
                             const MaybeTensor& compress_lens,
                             const MaybeTensor& compress_seq_offsets, const MaybeTensor& seq_lens,
                             at::Tensor& key_cache) {
  constexpr const char* kOp = "npu_scatter_pa_cache";
  refuse_compression(kOp, key, {compress_lens, compress_seq_offsets, seq_lens});
  check_tokens({kOp, "key"}, key, key_cache, shape_in({kOp, "key_cache"}, key_cache, false),
               slot_mapping);
  if (!key.is_meta()) scatter(kOp, key, key_cache, false, slot_mapping);
  return key_cache;
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&scatter_pa_kv_cache>(m, "npu_scatter_pa_kv_cache");
  composed_kernel<&scatter_pa_kv_cache_functional>(m, "npu_scatter_pa_kv_cache_functional");
  composed_kernel<&scatter_pa_cache>(m, "npu_scatter_pa_cache.value");
}

}  // namespace
}  // namespace npu_sim::ops
