#include "runtime/fork.h"

#include <pthread.h>

#include "runtime/device_table.h"

namespace npu_sim::runtime {
namespace {

// All locks, in the order of the device table, so that no other thread holds one while we fork.
template <class Act>
void for_each_lock(Act act) {
  DeviceTable& table = device_table();
  act(table.chip_mutex);
  for (const auto& allocator : table.allocators) act(allocator->mutex());
  act(table.addresses.mutex());
  act(table.timeline_mutex);
  act(table.trace.mutex());
  act(table.undescribed.mutex());
  act(table.fallbacks.mutex());
  act(table.core_limits.mutex());
  act(table.mem_pools.mutex());
  act(table.foreign_memory.mutex());
  act(table.intern_mutex);
}

void before_fork() {
  for_each_lock([](std::mutex& mutex) { mutex.lock(); });
}

void after_fork_in_parent() {
  for_each_lock([](std::mutex& mutex) { mutex.unlock(); });
}

void after_fork_in_child() {
  after_fork_in_parent();
  DeviceTable& table = device_table();
  table.in_bad_fork.store(table.used.load(std::memory_order_acquire), std::memory_order_release);
}

}  // namespace

void install_fork_handlers() {
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace npu_sim::runtime
