// Units as types: simulated time, bytes, cycles, floating-point operations, energy.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace npu_sim::base {

// Simulated time in whole picoseconds; int64 covers 106 days. Wall time never has this type.
using SimTime = std::chrono::duration<std::int64_t, std::pico>;

// A whole number of something that must not be mixed with another kind of number.
template <class Tag>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(std::int64_t count) : count_(count) {}

  [[nodiscard]] constexpr std::int64_t count() const { return count_; }

  // The check takes the compiler's own comparison with 0 for a null pointer.
  constexpr auto operator<=>(const Quantity&) const = default;  // NOLINT(modernize-use-nullptr)
  constexpr Quantity& operator+=(Quantity other) {
    count_ += other.count_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    count_ -= other.count_;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return a += b; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return a -= b; }
  friend constexpr Quantity operator*(Quantity a, std::int64_t factor) {
    return Quantity(a.count_ * factor);
  }
  friend constexpr Quantity operator*(std::int64_t factor, Quantity a) { return a * factor; }

 private:
  std::int64_t count_ = 0;
};

using Bytes = Quantity<struct BytesTag>;
using Cycles = Quantity<struct CyclesTag>;
using Flops = Quantity<struct FlopsTag>;
using Picojoules = Quantity<struct PicojoulesTag>;

[[nodiscard]] constexpr double to_us(SimTime time) {
  return static_cast<double>(time.count()) * 1e-6;
}
[[nodiscard]] constexpr double to_ms(SimTime time) {
  return static_cast<double>(time.count()) * 1e-9;
}

}  // namespace npu_sim::base
