// Which thread runs backward.
#pragma once

#include <vector>

namespace npu_sim::backend {

// From its first allocation on, a thread runs the backward passes that it starts by itself, unless
// it calls torch.autograd.set_multithreading_enabled(True) afterwards. torch would give each card a
// thread; these would reach the one simulated host in an order that differs from run to run.
void keep_backward_in_this_thread() noexcept;

// The kernel's ids of the living threads that have allocated on npu.
[[nodiscard]] std::vector<long> threads_that_allocated();

}  // namespace npu_sim::backend
