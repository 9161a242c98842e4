// The host address ranges that stand for device memory, one range a device.
//
// All ranges are one reservation with a power-of-two stride, so that the device of a pointer is a
// subtraction and a shift. Reserving costs no memory: pages come when bytes are touched.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace npu_sim::runtime {

// Start of the first device's memory as programs see it in reports, the same in every run.
inline constexpr std::uintptr_t kSimulatedBase = 0x12c0'4000'0000;

class AddressSpace {
 public:
  // Makes `device`'s range usable and returns its start. All devices have `bytes` each.
  // Throws base::Error when the operating system refuses.
  [[nodiscard]] std::byte* open(int device, std::size_t bytes);
  // Gives every range back. No pointer into them may be left.
  void release();

  // The device whose range holds `pointer`, or -1. Lock-free.
  [[nodiscard]] int device_of(const void* pointer) const noexcept {
    const std::size_t size = size_.load(std::memory_order_acquire);
    const std::uintptr_t offset =
        reinterpret_cast<std::uintptr_t>(pointer) - base_.load(std::memory_order_relaxed);
    if (offset >= size) return -1;
    return static_cast<int>(offset >> shift_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] std::uintptr_t simulated_address(const void* pointer) const noexcept;
  [[nodiscard]] std::mutex& mutex() { return mutex_; }  // for the fork handlers

 private:
  void reserve(std::size_t bytes);

  std::mutex mutex_;
  std::atomic<std::size_t> size_{0};  // of all ranges; 0: nothing is reserved
  std::atomic<std::uintptr_t> base_{0};
  std::atomic<unsigned> shift_{0};
  void* mapping_ = nullptr;
  std::size_t mapping_size_ = 0;
};

// Private zeroed memory whose pages come when touched. Throws base::Error, naming `purpose`.
[[nodiscard]] void* map_lazily(std::size_t bytes, const char* purpose);

// Lets the host back a large segment with huge pages; a refusal does no harm. Measured for 64 MiB
// (2 cores, memset): first touch 28 ms with small pages, 9 ms with huge ones; drop 1.8 and 0.1 ms.
void prefer_huge_pages(std::byte* begin, std::size_t bytes) noexcept;

// Gives the host pages that lie wholly inside back; they read as zero afterwards.
void drop_pages(std::byte* begin, std::size_t bytes) noexcept;

}  // namespace npu_sim::runtime
