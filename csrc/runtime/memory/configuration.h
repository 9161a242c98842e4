// Allocator settings from PYTORCH_NPU_ALLOC_CONF.
#pragma once

#include <cstdint>
#include <string_view>

namespace npu_sim::runtime {

struct AllocatorConfiguration {
  std::int64_t max_split_bytes = -1;        // larger blocks are never split; -1: no limit
  double garbage_collection_threshold = 0;  // share of the allowed memory; 0: off
};

// Parses "key:value,key:value". Other keys that torch_npu knows are accepted and have no effect.
// Throws base::ValueError on an unknown key or a value out of range.
[[nodiscard]] AllocatorConfiguration parse_allocator_configuration(std::string_view text);

// Of PYTORCH_NPU_ALLOC_CONF or PYTORCH_ALLOC_CONF, read once. Throws base::ValueError when both
// are set.
[[nodiscard]] const AllocatorConfiguration& allocator_configuration();

}  // namespace npu_sim::runtime
