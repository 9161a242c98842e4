// Fork safety: locks stay sane in the child, and a child forked after use knows it.
#pragma once

namespace npu_sim::runtime {

// Registers the process's fork handlers; called once, by the device table.
void install_fork_handlers();

}  // namespace npu_sim::runtime
