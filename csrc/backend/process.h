// Whether this process may use the simulated cards.
#pragma once

namespace npu_sim::backend {

// Throws torch.cuda's error in a process forked from one that had used the cards.
void check_process();

}  // namespace npu_sim::backend
