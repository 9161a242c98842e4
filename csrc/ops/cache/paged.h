// Rows of tokens in a cache, as its layout puts them into memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/format/element_of.h"

namespace npu_sim::ops {

// kRows: [blocks, tokens, ...], a token's row is contiguous.
// kFractal (NZ): a block is [row pieces, tokens, one piece], pieces of 32 bytes or of the last
// axis.
enum class CacheLayout : std::uint8_t { kRows, kFractal };

// How a cache is cut into blocks of tokens.
struct CacheShape {
  std::int64_t blocks = 0;
  std::int64_t tokens = 0;     // a block
  std::int64_t row_bytes = 0;  // a token
  std::int64_t piece = 0;      // bytes that lie together in kFractal; 0: the row
};

// A cache's memory. Axis 0 may be strided; what a block holds must be contiguous (ValueError).
class PagedCache {
 public:
  PagedCache(ArgumentName name, const at::Tensor& cache, const CacheShape& shape);

  [[nodiscard]] std::int64_t slots() const { return shape_.blocks * shape_.tokens; }
  [[nodiscard]] std::int64_t row_bytes() const { return shape_.row_bytes; }

  // Copies `row` to a slot, or a slot's row to `row`; the slot must exist.
  void put(std::int64_t slot, const std::byte* row) const;
  void get(std::int64_t slot, std::byte* row) const;

 private:
  [[nodiscard]] std::byte* block(std::int64_t slot) const;

  CacheShape shape_;
  std::byte* data_ = nullptr;
  std::int64_t block_bytes_ = 0;  // from block to block
};

// Writes rows of `values` [rows, ...] (contiguous, as many bytes a row as the cache) to their
// slots; a negative slot is skipped. Raises IndexError, as by `slots_name`, on a slot beyond the
// cache.
void put_rows(ArgumentName slots_name, const PagedCache& cache, const at::Tensor& values,
              std::span<const std::int64_t> slots);

// A cache [blocks, tokens, heads, width]; of kFractal ones memory is in pieces of 32 bytes all the
// same.
[[nodiscard]] CacheShape shape_of_blocks(ArgumentName name, const at::Tensor& cache,
                                         CacheLayout layout);

// A cache of layout kFractal as its axes say: [blocks, pieces of a row, tokens, piece].
[[nodiscard]] CacheShape shape_of_fractals(ArgumentName name, const at::Tensor& cache);

}  // namespace npu_sim::ops
