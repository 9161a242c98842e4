#include "runtime/memory/address_space.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

// Device ranges start on this boundary, so that segments start on huge pages of the host.
constexpr std::size_t kAlignment = std::size_t{2} << 20;
constexpr int kLazyPrivate = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

[[noreturn]] void refused(std::size_t bytes, const char* purpose) {
  throw base::Error("npu: expected the host to reserve " + std::to_string(bytes) +
                    " bytes of address space for " + purpose + ", got '" + std::strerror(errno) +
                    "'; raise ulimit -v, set vm.overcommit_memory to 0 or 1, or lower "
                    "NPU_SIM_DEVICES");
}

}  // namespace

void* map_lazily(std::size_t bytes, const char* purpose) {
  void* mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kLazyPrivate, -1, 0);
  if (mapping == MAP_FAILED) refused(bytes, purpose);
  return mapping;
}

void prefer_huge_pages(std::byte* begin, std::size_t bytes) noexcept {
  madvise(begin, bytes, MADV_HUGEPAGE);
}

void drop_pages(std::byte* begin, std::size_t bytes) noexcept {
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) & ~(page - 1);
  const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(begin) + bytes) & ~(page - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void AddressSpace::reserve(std::size_t bytes) {
  const std::size_t stride = std::bit_ceil(bytes);
  const std::size_t size = stride * static_cast<std::size_t>(device_table().count);
  void* mapping = mmap(nullptr, size + kAlignment, PROT_NONE, kLazyPrivate, -1, 0);
  if (mapping == MAP_FAILED) refused(size + kAlignment, "all devices");
  mapping_ = mapping;
  mapping_size_ = size + kAlignment;
  const auto start = reinterpret_cast<std::uintptr_t>(mapping);
  base_.store((start + kAlignment - 1) & ~(kAlignment - 1), std::memory_order_relaxed);
  shift_.store(static_cast<unsigned>(std::countr_zero(stride)), std::memory_order_relaxed);
  size_.store(size, std::memory_order_release);
}

std::byte* AddressSpace::open(int device, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (size_.load(std::memory_order_relaxed) == 0) reserve(bytes);
  const std::uintptr_t start =
      base_.load(std::memory_order_relaxed) +
      (static_cast<std::uintptr_t>(device) << shift_.load(std::memory_order_relaxed));
  auto* begin = reinterpret_cast<std::byte*>(start);
  if (mprotect(begin, bytes, PROT_READ | PROT_WRITE) != 0) refused(bytes, "one device");
  return begin;
}

void AddressSpace::release() {
  const std::lock_guard lock(mutex_);
  if (size_.load(std::memory_order_relaxed) == 0) return;
  size_.store(0, std::memory_order_release);
  munmap(mapping_, mapping_size_);
}

std::uintptr_t AddressSpace::simulated_address(const void* pointer) const noexcept {
  return reinterpret_cast<std::uintptr_t>(pointer) - base_.load(std::memory_order_relaxed) +
         kSimulatedBase;
}

}  // namespace npu_sim::runtime
