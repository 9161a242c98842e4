#include "backend/backward_thread.h"

#include <c10/core/AutogradState.h>
#include <c10/macros/Macros.h>

namespace npu_sim::backend {
namespace {

constinit thread_local bool g_kept = false;

}  // namespace

void keep_backward_in_this_thread() noexcept {
  if (C10_LIKELY(g_kept)) return;
  g_kept = true;
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

}  // namespace npu_sim::backend
