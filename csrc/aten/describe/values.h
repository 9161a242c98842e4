// The few values that a kernel's work depends on: lengths, group sizes, block tables.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "aten/describe/call.h"

namespace npu_sim::aten {

// The integers at argument `index` in order: a list of ints, or an int32 or int64 tensor whose
// bytes the host has. nullopt for None, no such argument, another dtype, or a tensor without bytes
// (a fake or meta one); a describer then takes even sizes.
[[nodiscard]] std::optional<std::vector<std::int64_t>> integers_at(const Call& call,
                                                                   std::size_t index);

}  // namespace npu_sim::aten
