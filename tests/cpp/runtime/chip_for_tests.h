// A small card with round host costs, and a fixture that starts each test on a fresh one.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

#include "model/chip/chip_spec.h"
#include "model/work/work.h"
#include "runtime/device.h"
#include "runtime/launch.h"
#include "runtime/memory/caching_allocator.h"

namespace npu_sim::runtime {

inline constexpr std::int64_t kTestMemory = std::int64_t{256} << 20;
inline constexpr std::size_t kMib = std::size_t{1} << 20;

inline model::ChipSpec chip_for_tests() {
  model::ChipSpec chip = model::preset("ascend950pr");
  chip.memory_bytes = kTestMemory;
  chip.host.eager_op_ns = 1000;
  chip.host.view_op_ns = 100;
  chip.host.synchronize_ns = 0;
  chip.host.copy_call_ns = 500;
  return chip;
}

class RuntimeTest : public ::testing::Test {
 protected:
  void SetUp() override { set_chip(chip_for_tests()); }
};

// A long kernel that streams `mib` from device memory.
inline model::VectorWork streaming(std::int64_t mib) {
  return {
      .elements = mib << 18, .read = model::Bytes(mib << 20), .written = model::Bytes(mib << 20)};
}

}  // namespace npu_sim::runtime
