#include "ops/mhc/streams.h"

#include <c10/util/Exception.h>

namespace npu_sim::ops {

std::int64_t streams_of(const char* op, const at::Tensor& x) {
  TORCH_CHECK_VALUE(x.dim() == 3 || x.dim() == 4, op,
                    ": expected x of [batch, tokens, streams, width] or [tokens, streams, width], "
                    "got ",
                    x.sizes());
  return x.size(-2);
}

void check_shape(const char* op, const char* argument, const at::Tensor& tensor,
                 at::IntArrayRef expected) {
  TORCH_CHECK_VALUE(tensor.sizes() == expected, op, ": expected ", argument, " of ", expected,
                    ", got ", tensor.sizes());
}

}  // namespace npu_sim::ops
