// npu_prefetch: brings weights into L2 before a kernel reads them.
#include <ATen/core/Tensor.h>

#include <algorithm>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

// --- work
// At most `max_size` bytes from `offset` on go to the chip; nothing is written back.
model::Work prefetch_work(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  const std::int64_t all = input.numel() * static_cast<std::int64_t>(input.element_size());
  const base::Bytes bytes(
      std::min(aten::integer_at(call, 2, all), all - aten::integer_at(call, 3, 0)));
  return model::CopyWork{.read = bytes, .run = bytes, .target = model::CopyTarget::kUb};
}
constexpr aten::Entry kEntries[] = {{"npu_prefetch", prefetch_work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute: checks alone; the values stay where they are.
void prefetch(const at::Tensor& input,
              const std::optional<at::Tensor>& /*dependency: the stream's order*/,
              std::int64_t max_size, std::int64_t offset) {
  constexpr const char* kOp = "npu_prefetch";
  const std::int64_t bytes = input.numel() * static_cast<std::int64_t>(input.element_size());
  TORCH_CHECK_VALUE(max_size > 0, kOp, ": expected a positive max_size, got ", max_size);
  TORCH_CHECK_VALUE(offset >= 0 && offset < bytes, kOp, ": expected offset in [0, ", bytes,
                    "), the bytes of input, got ", offset);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&prefetch>(m, "npu_prefetch"); }

}  // namespace
}  // namespace npu_sim::ops
