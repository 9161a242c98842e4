// The first kernel of a functional form: it copies the caches that the form in place would write.
#pragma once

#include "aten/describe/operands.h"
#include "model/work/work.h"

namespace npu_sim::ops {

template <std::size_t... caches>
model::Work copied_first(const aten::Call& call) {
  const base::Bytes bytes = (aten::bytes_of(call.argument(caches)) + ...);
  return model::CopyWork{.read = bytes, .written = bytes};
}

}  // namespace npu_sim::ops
