// Operators whose kernels an Ascend 950 lacks but older cards have.
#pragma once

#include <c10/util/Exception.h>

#include "runtime/device.h"

namespace npu_sim::ops {

// Raises RuntimeError with torch_npu's code ERR01007 where the card is an Ascend 950; `instead`
// says what to use there.
inline void refuse_on_950(const char* op, const char* instead) {
  const std::string& soc = runtime::chip().soc_name;
  TORCH_CHECK(!soc.starts_with("Ascend950"), op, ": expected a card with this kernel, got an ", soc,
              ", which lacks it; use ", instead, " (ERR01007 OPS feature not supported)");
}

}  // namespace npu_sim::ops
