// npu_gather_pa_kv_cache and its functional form: keys and values of sequences out of a paged
// cache.
//
// key [T, heads, width] takes the tokens of all sequences one after the other; a cache is
// [blocks, tokens, heads, width], or in layout NZ [blocks, heads width / piece, tokens, piece].
// The card reads the layout off the cache's format; here it is NZ where the axes fit only that.
// Tokens whose block does not exist are 0; rows of key beyond the last sequence stay.
// Source: op-plugin@517f2e7d, test_npu_gather_pa_kv_cache.py.
#include <algorithm>
#include <cstring>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/cache/copied_first.h"
#include "ops/cache/paged.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

// --- work: what the sequences hold is read in the runs that a block keeps together.
model::Work gather_work(const aten::Call& call) {
  const at::Tensor& cache = call.argument(0);
  const at::Tensor& key = call.argument(4);
  const at::Tensor& value = call.argument(5);
  const auto lengths = aten::integers_at(call, 3);
  const bool sums = aten::boolean_at(call, 7, false);
  std::int64_t tokens = aten::size_along(key, 0);
  if (lengths.has_value() && !lengths->empty()) {
    std::int64_t all = lengths->back() - lengths->front();
    if (!sums) {
      all = 0;
      for (const std::int64_t length : *lengths) all += length;
    }
    tokens = std::min(tokens, all);
  }
  const auto row = [](const at::Tensor& x) {
    return aten::ratio(aten::bytes_of(x).count(), aten::size_along(x, 0));
  };
  const std::int64_t bytes = tokens * (row(key) + row(value));
  const bool fractal = aten::size_along(cache, 2) != aten::size_along(key, 1);
  const std::int64_t block = aten::size_along(cache, fractal ? 2 : 1);
  const std::int64_t item =
      fractal ? block * 32 : std::min(block, std::max<std::int64_t>(tokens, 1)) * row(key);
  return model::GatherWork{
      .items = aten::ratio(bytes, item),
      .item = base::Bytes(item),
      .index = aten::bytes_of(call.argument(2)) + aten::bytes_of(call.argument(3)),
      .written = base::Bytes(bytes),
      .read = base::Bytes(bytes)};
}
constexpr aten::Describer kGather[] = {gather_work};
constexpr aten::Entry kEntries[] = {
    {"npu_gather_pa_kv_cache", gather_work},
    {"npu_gather_pa_kv_cache_functional", copied_first<4, 5>, kGather},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
CacheShape shape_for(ArgumentName name, const at::Tensor& cache, const at::Tensor& tokens) {
  TORCH_CHECK_VALUE(cache.dim() == 4 && tokens.dim() == 3, name.op, ": expected ", name.argument,
                    " of 4 axes and its tokens of 3, got ", cache.sizes(), " and ", tokens.sizes());
  TORCH_CHECK_TYPE(cache.scalar_type() == tokens.scalar_type(), name.op, ": expected ",
                   name.argument, " of its tokens' ", tokens.scalar_type(), ", got ",
                   cache.scalar_type());
  if (cache.sizes().slice(2) == tokens.sizes().slice(1)) {
    return shape_of_blocks(name, cache, CacheLayout::kRows);
  }
  TORCH_CHECK_VALUE(cache.size(1) * cache.size(3) == tokens.size(1) * tokens.size(2), name.op,
                    ": expected ", name.argument, " of [blocks, tokens, ", tokens.size(1), ", ",
                    tokens.size(2), "] or of its fractals, got ", cache.sizes());
  return shape_of_fractals(name, cache);
}

struct Wanted {
  const char* op;
  const at::Tensor& block_tables;
  const at::Tensor& seq_lens;
  const MaybeTensor& seq_offset;
  bool sums;
  [[nodiscard]] bool has_offset() const { return given(seq_offset); }
  [[nodiscard]] std::int64_t sequences() const { return block_tables.size(0); }
};

void check_wanted(const Wanted& wanted) {
  TORCH_CHECK_VALUE(wanted.block_tables.dim() == 2, wanted.op,
                    ": expected block_tables of [sequences, blocks], got ",
                    wanted.block_tables.sizes());
  const std::int64_t lengths = wanted.sequences() + (wanted.sums ? 1 : 0);
  TORCH_CHECK_VALUE(wanted.seq_lens.dim() == 1 && wanted.seq_lens.size(0) == lengths, wanted.op,
                    ": expected seq_lens of [", lengths, "], got ", wanted.seq_lens.sizes());
  if (!wanted.has_offset()) return;
  TORCH_CHECK_VALUE(wanted.seq_offset->numel() == wanted.sequences(), wanted.op,
                    ": expected seq_offset of [", wanted.sequences(), "], got ",
                    wanted.seq_offset->sizes());
}

// --- compute
Integers lengths_of(const Wanted& wanted) {
  Integers lengths = integers_of({.op = wanted.op, .argument = "seq_lens"}, wanted.seq_lens);
  if (wanted.sums) {
    for (std::size_t i = 0; i + 1 < lengths.size(); ++i) lengths[i] = lengths[i + 1] - lengths[i];
    lengths.pop_back();
  }
  for (const std::int64_t length : lengths) {
    TORCH_CHECK_VALUE(length >= 0, wanted.op, ": expected seq_lens that are not negative",
                      wanted.sums ? " and sums that do not fall" : "", ", got ", length);
  }
  return lengths;
}

// Slot of each row of the tokens; -1 where its block does not exist.
Integers slots_of(const Wanted& wanted, const CacheShape& shape, std::int64_t rows) {
  const Integers lengths = lengths_of(wanted);
  const Integers tables =
      integers_of({.op = wanted.op, .argument = "block_tables"}, wanted.block_tables);
  const Integers offsets =
      wanted.has_offset()
          ? integers_of({.op = wanted.op, .argument = "seq_offset"}, *wanted.seq_offset)
          : Integers(lengths.size(), 0);
  const std::int64_t columns = wanted.block_tables.size(1);
  Integers slots;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    TORCH_CHECK_VALUE(offsets[s] >= 0, wanted.op,
                      ": expected seq_offset that is not negative, got ", offsets[s]);
    for (std::int64_t j = 0; j < lengths[s] && std::ssize(slots) < rows; ++j) {
      const std::int64_t column =
          shape.tokens == 0 ? columns : offsets[s] / shape.tokens + j / shape.tokens;
      const std::int64_t block =
          column < columns
              ? tables[s * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column)]
              : -1;
      const bool exists = block >= 0 && block < shape.blocks;
      slots.push_back(exists ? block * shape.tokens + j % shape.tokens : -1);
    }
  }
  return slots;
}

void gather(ArgumentName name, const Wanted& wanted, const at::Tensor& cache, at::Tensor& tokens) {
  const CacheShape shape = shape_for(name, cache, tokens);
  const PagedCache paged(name, cache, shape);
  const Integers slots = slots_of(wanted, shape, tokens.size(0));
  const at::Tensor dense = tokens.contiguous();
  auto* to = static_cast<std::byte*>(dense.data_ptr());
  for (const std::int64_t slot : slots) {
    if (slot >= 0) {
      paged.get(slot, to);
    } else {
      std::memset(to, 0, static_cast<std::size_t>(shape.row_bytes));
    }
    to += shape.row_bytes;
  }
  if (!dense.is_same(tokens)) tokens.copy_(dense);
}

void gather_pa_kv_cache(const at::Tensor& key_cache, const at::Tensor& value_cache,
                        const at::Tensor& block_tables, const at::Tensor& seq_lens, at::Tensor& key,
                        at::Tensor& value, const MaybeTensor& seq_offset, bool is_seq_lens_cumsum) {
  constexpr const char* kOp = "npu_gather_pa_kv_cache";
  const Wanted wanted{kOp, block_tables, seq_lens, seq_offset, is_seq_lens_cumsum};
  check_wanted(wanted);
  (void)shape_for({kOp, "key_cache"}, key_cache, key);
  (void)shape_for({kOp, "value_cache"}, value_cache, value);
  if (key.is_meta()) return;
  gather({kOp, "key_cache"}, wanted, key_cache, key);
  gather({kOp, "value_cache"}, wanted, value_cache, value);
}

std::tuple<at::Tensor, at::Tensor> gather_pa_kv_cache_functional(
    const at::Tensor& key_cache, const at::Tensor& value_cache, const at::Tensor& block_tables,
    const at::Tensor& seq_lens, const at::Tensor& key, const at::Tensor& value,
    const MaybeTensor& seq_offset, bool is_seq_lens_cumsum) {
  at::Tensor new_key = key.clone();
  at::Tensor new_value = value.clone();
  gather_pa_kv_cache(key_cache, value_cache, block_tables, seq_lens, new_key, new_value, seq_offset,
                     is_seq_lens_cumsum);
  return {new_key, new_value};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&gather_pa_kv_cache>(m, "npu_gather_pa_kv_cache");
  composed_kernel<&gather_pa_kv_cache_functional>(m, "npu_gather_pa_kv_cache_functional");
}

}  // namespace
}  // namespace npu_sim::ops
