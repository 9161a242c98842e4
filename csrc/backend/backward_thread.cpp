#include "backend/backward_thread.h"

#include <c10/core/AutogradState.h>
#include <c10/macros/Macros.h>
#include <unistd.h>

#include <mutex>
#include <set>

namespace npu_sim::backend {
namespace {

constinit thread_local bool g_kept = false;

struct Threads {
  std::mutex mutex;
  std::set<long> ids;
};

Threads& threads() {
  static auto* const instance = new Threads();  // outlives threads that still run at exit
  return *instance;
}

// In the list as long as its thread lives.
struct Entry {
  Entry() : id(gettid()) {
    const std::lock_guard<std::mutex> lock(threads().mutex);
    threads().ids.insert(id);
  }
  ~Entry() {
    const std::lock_guard<std::mutex> lock(threads().mutex);
    threads().ids.erase(id);
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  const long id;
};

}  // namespace

void keep_backward_in_this_thread() noexcept {
  if (C10_LIKELY(g_kept)) return;
  g_kept = true;
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  static thread_local const Entry entry;
  static_cast<void>(entry);
}

std::vector<long> threads_that_allocated() {
  const std::lock_guard<std::mutex> lock(threads().mutex);
  return {threads().ids.begin(), threads().ids.end()};
}

}  // namespace npu_sim::backend
