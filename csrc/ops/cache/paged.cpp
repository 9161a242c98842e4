#include "ops/cache/paged.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kFractalBytes = 32;  // one row of a fractal block of layout NZ

std::int64_t bytes_after(const at::Tensor& tensor, std::int64_t axis) {
  std::int64_t bytes = static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t i = axis; i < tensor.dim(); ++i) bytes *= tensor.size(i);
  return bytes;
}

void check_axes(ArgumentName name, const at::Tensor& cache) {
  TORCH_CHECK_VALUE(cache.dim() == 4, name.op, ": expected ", name.argument, " of 4 axes, got ",
                    cache.sizes());
}

}  // namespace

CacheShape shape_of_blocks(ArgumentName name, const at::Tensor& cache, CacheLayout layout) {
  check_axes(name, cache);
  const CacheShape shape{.blocks = cache.size(0),
                         .tokens = cache.size(1),
                         .row_bytes = bytes_after(cache, 2),
                         .piece = layout == CacheLayout::kFractal ? kFractalBytes : 0};
  TORCH_CHECK_VALUE(shape.piece == 0 || shape.row_bytes % shape.piece == 0, name.op, ": expected ",
                    name.argument, " of rows divisible by 32 bytes in layout NZ, got ",
                    shape.row_bytes, " bytes");
  return shape;
}

CacheShape shape_of_fractals(ArgumentName name, const at::Tensor& cache) {
  check_axes(name, cache);
  const std::int64_t piece = bytes_after(cache, 3);
  return {.blocks = cache.size(0),
          .tokens = cache.size(2),
          .row_bytes = cache.size(1) * piece,
          .piece = piece};
}

PagedCache::PagedCache(ArgumentName name, const at::Tensor& cache, const CacheShape& shape)
    : shape_(shape) {
  TORCH_CHECK_VALUE(cache.numel() == 0 || cache.select(0, 0).is_contiguous(), name.op,
                    ": expected ", name.argument, " with contiguous blocks, got strides ",
                    cache.strides());
  if (shape_.piece == 0) shape_.piece = shape_.row_bytes;
  data_ = static_cast<std::byte*>(cache.data_ptr());
  block_bytes_ = cache.stride(0) * static_cast<std::int64_t>(cache.element_size());
}

std::byte* PagedCache::block(std::int64_t slot) const {
  return data_ + slot / shape_.tokens * block_bytes_ + slot % shape_.tokens * shape_.piece;
}

void PagedCache::put(std::int64_t slot, const std::byte* row) const {
  std::byte* to = block(slot);
  const std::int64_t step = shape_.tokens * shape_.piece;
  for (std::int64_t done = 0; done < shape_.row_bytes; done += shape_.piece, to += step) {
    std::memcpy(to, row + done, static_cast<std::size_t>(shape_.piece));
  }
}

void PagedCache::get(std::int64_t slot, std::byte* row) const {
  const std::byte* from = block(slot);
  const std::int64_t step = shape_.tokens * shape_.piece;
  for (std::int64_t done = 0; done < shape_.row_bytes; done += shape_.piece, from += step) {
    std::memcpy(row + done, from, static_cast<std::size_t>(shape_.piece));
  }
}

void put_rows(ArgumentName name, const PagedCache& cache, const at::Tensor& values,
              std::span<const std::int64_t> slots) {
  const std::int64_t rows = std::ssize(slots);
  for (const std::int64_t slot : slots) {
    TORCH_CHECK_INDEX(slot < cache.slots(), name.op, ": expected ", name.argument, " below ",
                      cache.slots(), ", the tokens of the cache, got ", slot);
  }
  const bool fits = values.is_contiguous() &&
                    static_cast<std::int64_t>(values.nbytes()) == rows * cache.row_bytes();
  TORCH_INTERNAL_ASSERT(fits, name.op, ": ", values.nbytes(), " bytes for ", rows, " rows of ",
                        cache.row_bytes());
  const auto* const from = static_cast<const std::byte*>(values.const_data_ptr());
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t slot = slots[static_cast<std::size_t>(i)];
    if (slot >= 0) cache.put(slot, from + i * cache.row_bytes());
  }
}

}  // namespace npu_sim::ops
