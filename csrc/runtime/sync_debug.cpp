#include "runtime/sync_debug.h"

#include "base/error.h"
#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

constexpr const char* kText =
    "called a synchronizing NPU operation; torch.npu.set_sync_debug_mode('default') silences this";

}  // namespace

void set_sync_debug_mode(SyncDebugMode mode) {
  device_table().sync_debug_mode.store(mode, std::memory_order_relaxed);
}

SyncDebugMode sync_debug_mode() {
  return device_table().sync_debug_mode.load(std::memory_order_relaxed);
}

void set_sync_warning(SyncWarning warn) {
  device_table().sync_warning.store(warn, std::memory_order_release);
}

void note_host_wait() {
  const SyncDebugMode mode = sync_debug_mode();
  if (mode == SyncDebugMode::kDefault) return;
  if (mode == SyncDebugMode::kError) throw base::Error(kText);
  if (const SyncWarning warn = device_table().sync_warning.load(std::memory_order_acquire)) {
    warn(kText);
  }
}

}  // namespace npu_sim::runtime
