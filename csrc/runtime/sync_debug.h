// Telling the user where the host waits for a stream: torch's sync debug mode.
#pragma once

namespace npu_sim::runtime {

enum class SyncDebugMode { kDefault = 0, kWarn = 1, kError = 2 };

// What a wait in kWarn calls, with the text; installed by whoever can warn the user.
using SyncWarning = void (*)(const char* text);

void set_sync_debug_mode(SyncDebugMode mode);
[[nodiscard]] SyncDebugMode sync_debug_mode();
void set_sync_warning(SyncWarning warn);

// The host is about to wait for a stream. Throws base::Error in kError. No lock may be held.
void note_host_wait();

}  // namespace npu_sim::runtime
