// _npu_distribute_barrier: waits until every card of a group has come so far.
#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/moe/exchange.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "_npu_distribute_barrier";

// --- work: a card alone waits for nobody.
model::Work nothing(const aten::Call& /*call*/) { return model::NoWork{}; }
constexpr aten::Entry kEntries[] = {{kOp, nothing}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// The card gives x_ref itself back; the schema says a tensor of its own, so it is a copy here.
at::Tensor barrier(const at::Tensor& x_ref, [[maybe_unused]] c10::string_view group,
                   std::int64_t world_size, [[maybe_unused]] const MaybeTensor& time_out,
                   const MaybeTensor& elastic_info) {
  TORCH_CHECK_NOT_IMPLEMENTED(!given(elastic_info), kOp,
                              ": elastic_info is not built yet; pass None");
  static_cast<void>(group_of({kOp, "world_size"}, world_size));
  return x_ref.clone();
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&barrier>(m, kOp); }

}  // namespace
}  // namespace npu_sim::ops
