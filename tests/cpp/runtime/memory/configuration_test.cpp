#include "runtime/memory/configuration.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace npu_sim::runtime {
namespace {

TEST(AllocatorConfiguration, an_empty_text_sets_no_limits) {
  const auto settings = parse_allocator_configuration("");
  EXPECT_EQ(settings.max_split_bytes, -1);
  EXPECT_EQ(settings.garbage_collection_threshold, 0);
}

TEST(AllocatorConfiguration, reads_both_keys) {
  const auto settings =
      parse_allocator_configuration("max_split_size_mb:128, garbage_collection_threshold:0.6");
  EXPECT_EQ(settings.max_split_bytes, 128 << 20);
  EXPECT_EQ(settings.garbage_collection_threshold, 0.6);
}

TEST(AllocatorConfiguration, accepts_keys_without_meaning_here) {
  const auto settings = parse_allocator_configuration(
      "expandable_segments:True,roundup_power2_divisions:[256:1,512:2],max_split_size_mb:64");
  EXPECT_EQ(settings.max_split_bytes, 64 << 20);
}

TEST(AllocatorConfiguration, refuses_unknown_keys_and_bad_values) {
  for (const char* text : {"no_such_key:1", "max_split_size_mb", "max_split_size_mb:x",
                           "max_split_size_mb:20", "garbage_collection_threshold:1.5"}) {
    EXPECT_THROW((void)parse_allocator_configuration(text), base::ValueError) << text;
  }
}

}  // namespace
}  // namespace npu_sim::runtime
