#include "base/units.h"

#include <gtest/gtest.h>

#include <chrono>
#include <type_traits>

namespace npu_sim::base {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};

TEST(Units, KindsOfNumberDoNotMix) {
  static_assert(Addable<Bytes, Bytes>);
  static_assert(!Addable<Bytes, Cycles>);
  static_assert(!std::is_convertible_v<std::int64_t, Bytes>);
}

TEST(Units, ArithmeticIsExact) {
  const Bytes sum = Bytes(3) + Bytes(4) * 2 - 5 * Bytes(1);
  EXPECT_EQ(sum.count(), 6);
  EXPECT_LT(Bytes(1), Bytes(2));
}

TEST(Units, SimTimeIsWholePicoseconds) {
  EXPECT_EQ(SimTime(std::chrono::nanoseconds(1)).count(), 1000);
  EXPECT_DOUBLE_EQ(to_us(std::chrono::microseconds(7)), 7.0);
  EXPECT_DOUBLE_EQ(to_ms(std::chrono::microseconds(7)), 0.007);
}

}  // namespace
}  // namespace npu_sim::base
