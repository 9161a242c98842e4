// Registers what can be listed only once torch's own operators are known.
#pragma once

namespace npu_sim::aten {

// Puts the route behind every ATen operator that has a CPU kernel and none of ours. Idempotent.
// Call after torch is loaded and before the first npu tensor.
void register_route();

}  // namespace npu_sim::aten
