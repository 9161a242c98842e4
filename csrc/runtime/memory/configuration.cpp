#include "runtime/memory/configuration.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace npu_sim::runtime {
namespace {

// Known to torch_npu, without meaning for a simulated address space.
constexpr std::array<std::string_view, 18> kWithoutEffect = {"expandable_segments",
                                                             "base_addr_aligned_kb",
                                                             "page_size",
                                                             "large_segment_size_mb",
                                                             "segment_size_mb",
                                                             "roundup_power2_divisions",
                                                             "multi_stream_lazy_reclaim",
                                                             "per_process_memory_fraction",
                                                             "throw_on_npumalloc_oom",
                                                             "max_non_split_rounding_mb",
                                                             "release_lock_on_npumalloc",
                                                             "pinned_use_background_threads",
                                                             "pin_memory_expandable_segments",
                                                             "pinned_mem_register",
                                                             "pinned_use_host_register",
                                                             "pinned_num_register_threads",
                                                             "pinned_reserve_segment_size_mb",
                                                             "backend"};

constexpr std::int64_t kMib = 1 << 20;
constexpr std::int64_t kSmallestSplitMib = 20;  // the size of a large segment

[[noreturn]] void refuse(std::string_view key, std::string_view expected, std::string_view got) {
  throw base::ValueError("PYTORCH_NPU_ALLOC_CONF: expected " + std::string(expected) + " for '" +
                         std::string(key) + "', got '" + std::string(got) +
                         "'; write key:value pairs with commas between");
}

double number(std::string_view key, std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end) refuse(key, "a number", text);
  return value;
}

void apply(AllocatorConfiguration& settings, std::string_view key, std::string_view value) {
  if (key == "max_split_size_mb") {
    const double mib = number(key, value);
    if (mib <= kSmallestSplitMib) refuse(key, "more than 20 (a large segment)", value);
    settings.max_split_bytes = static_cast<std::int64_t>(mib) * kMib;
  } else if (key == "garbage_collection_threshold") {
    const double share = number(key, value);
    if (share <= 0 || share >= 1) refuse(key, "a share in (0, 1)", value);
    settings.garbage_collection_threshold = share;
  } else if (std::ranges::find(kWithoutEffect, key) == kWithoutEffect.end()) {
    refuse(key, "a key that torch_npu knows (max_split_size_mb ...)", key);
  }
}

// The next item up to a comma outside of brackets; "a:[1,2],b:3" has two.
std::string_view next_item(std::string_view& text) {
  int depth = 0;
  std::size_t at = 0;
  for (; at < text.size() && (depth > 0 || text[at] != ','); ++at) {
    depth += text[at] == '[' ? 1 : text[at] == ']' ? -1 : 0;
  }
  const std::string_view item = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return item;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

AllocatorConfiguration parse_allocator_configuration(std::string_view text) {
  AllocatorConfiguration settings;
  while (!text.empty()) {
    const std::string_view item = trimmed(next_item(text));
    if (item.empty()) continue;
    const std::size_t colon = item.find(':');
    if (colon == std::string_view::npos) refuse(item, "a value", "");
    apply(settings, trimmed(item.substr(0, colon)), trimmed(item.substr(colon + 1)));
  }
  return settings;
}

const AllocatorConfiguration& allocator_configuration() {
  static const AllocatorConfiguration settings = [] {
    const char* npu = std::getenv("PYTORCH_NPU_ALLOC_CONF");
    const char* torch = std::getenv("PYTORCH_ALLOC_CONF");
    if (npu && torch) {
      throw base::ValueError(
          "PYTORCH_NPU_ALLOC_CONF: expected it or PYTORCH_ALLOC_CONF, got both; unset one");
    }
    const char* text = npu ? npu : torch;
    return parse_allocator_configuration(text ? text : "");
  }();
  return settings;
}

}  // namespace npu_sim::runtime
