#include "base/format.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace npu_sim::base {
namespace {

TEST(Format, NamesAndWidthsFollowTheEnum) {
  EXPECT_EQ(name(Format::kFp64), "fp64");
  EXPECT_EQ(bits(Format::kFp64), 64);
  EXPECT_EQ(name(Format::kBf16), "bf16");
  EXPECT_EQ(bits(Format::kBf16), 16);
  EXPECT_EQ(name(Format::kMxFp4), "mxfp4");
  EXPECT_EQ(bits(Format::kMxFp4), 4);
  EXPECT_EQ(name(Format::kInt64), "int64");
  EXPECT_EQ(bits(Format::kInt64), 64);
  EXPECT_EQ(name(Format::kBool), "bool");
  EXPECT_EQ(bits(Format::kBool), 8);
  EXPECT_EQ(name(Format::kComplex128), "complex128");
  EXPECT_EQ(bits(Format::kComplex128), 128);
}

TEST(Format, Hf32TakesTheMemoryOfFp32) { EXPECT_EQ(bits(Format::kHf32), bits(Format::kFp32)); }

TEST(Format, NamesAreUnique) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Format::kComplex128); ++i) {
    EXPECT_TRUE(names.insert(name(static_cast<Format>(i))).second) << "format " << i;
  }
}

}  // namespace
}  // namespace npu_sim::base
