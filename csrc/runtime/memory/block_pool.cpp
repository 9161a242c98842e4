#include "runtime/memory/block_pool.h"

#include <bit>

namespace npu_sim::runtime {

void BlockPool::insert(Block* block) {
  if (block->size > kSmallSegment) {
    large_.insert(block);
    return;
  }
  const std::size_t bin = bin_of(block->size);
  block->list_previous = nullptr;
  block->list_next = bins_[bin];
  if (bins_[bin]) bins_[bin]->list_previous = block;
  bins_[bin] = block;
  filled_[bin / kWordBits] |= std::uint64_t{1} << (bin % kWordBits);
  filled_words_ |= std::uint64_t{1} << (bin / kWordBits);
}

void BlockPool::erase(Block* block) {
  if (block->size > kSmallSegment) {
    large_.erase(block);
    return;
  }
  if (block->list_next) block->list_next->list_previous = block->list_previous;
  if (block->list_previous) {
    block->list_previous->list_next = block->list_next;
    return;
  }
  const std::size_t bin = bin_of(block->size);
  bins_[bin] = block->list_next;
  if (bins_[bin]) return;
  filled_[bin / kWordBits] &= ~(std::uint64_t{1} << (bin % kWordBits));
  if (filled_[bin / kWordBits] == 0) filled_words_ &= ~(std::uint64_t{1} << (bin / kWordBits));
}

Block* BlockPool::find(std::size_t size) const {
  static_assert(kBins / kWordBits == kWordBits, "filled_words_ has a bit for every word");
  if (size <= kSmallSegment) {
    const std::size_t bin = bin_of(size);
    const std::size_t word = bin / kWordBits;
    const std::uint64_t here = filled_[word] & (~std::uint64_t{0} << (bin % kWordBits));
    if (here) return bins_[word * kWordBits + static_cast<std::size_t>(std::countr_zero(here))];
    const std::uint64_t above =
        word + 1 == kWordBits ? 0 : filled_words_ >> (word + 1) << (word + 1);
    if (above) {
      const auto next = static_cast<std::size_t>(std::countr_zero(above));
      return bins_[next * kWordBits + static_cast<std::size_t>(std::countr_zero(filled_[next]))];
    }
  }
  Block wanted;
  wanted.size = size;
  const auto found = large_.lower_bound(&wanted);
  return found == large_.end() ? nullptr : *found;
}

}  // namespace npu_sim::runtime
