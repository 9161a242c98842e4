#include "backend/process.h"

#include <c10/util/Exception.h>

#include "runtime/device.h"

namespace npu_sim::backend {

void check_process() {
  TORCH_CHECK(!runtime::in_bad_fork(),
              "Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, "
              "you must use the 'spawn' start method");
}

}  // namespace npu_sim::backend
