// scatter_nd_update_asc: rows into a table, at places of which negative ones are skipped.
// Source: cann-recipes-infer@fbc225d, ops/ascendc/docs/custom-npu_scatter_nd_update_asc.md.
#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/cache/paged.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "scatter_nd_update_asc";

// --- work
model::Work work(const aten::Call& call) {
  const at::Tensor& update = call.argument(2);
  const base::Bytes bytes = aten::bytes_of(update);
  const std::int64_t rows = aten::size_along(update, 0);
  return model::GatherWork{.items = rows,
                           .item = base::Bytes(aten::ratio(bytes.count(), rows)),
                           .index = aten::bytes_of(call.argument(1)),
                           .written = bytes,
                           .read = bytes,
                           .scatter = true};
}
constexpr aten::Entry kEntries[] = {{"custom::scatter_nd_update_asc", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check(const at::Tensor& var, const at::Tensor& indices, const at::Tensor& update) {
  constexpr std::int64_t kWidest = 32768;
  const at::ScalarType dtype = var.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kChar || dtype == at::kHalf || dtype == at::kBFloat16, kOp,
                   ": expected var of int8, float16 or bfloat16, got ", dtype);
  TORCH_CHECK_TYPE(update.scalar_type() == dtype, kOp, ": expected update of var's ", dtype,
                   ", got ", update.scalar_type());
  TORCH_CHECK_TYPE(indices.scalar_type() == at::kInt || indices.scalar_type() == at::kLong, kOp,
                   ": expected indices of int32 or int64, got ", indices.scalar_type());
  TORCH_CHECK_VALUE(var.dim() == 2 && var.numel() > 0 && var.size(1) <= kWidest, kOp,
                    ": expected var of [rows, width up to ", kWidest, "] without empty axes, got ",
                    var.sizes());
  TORCH_CHECK_VALUE(indices.dim() == 2 && indices.size(0) > 0 && indices.size(1) == 1, kOp,
                    ": expected indices of [updates, 1], at least one, got ", indices.sizes());
  TORCH_CHECK_VALUE(update.sizes() == (at::IntArrayRef{indices.size(0), var.size(1)}), kOp,
                    ": expected update of [", indices.size(0), ", ", var.size(1), "], got ",
                    update.sizes());
}

void scatter_nd_update(const at::Tensor& var, const at::Tensor& indices, const at::Tensor& update) {
  check(var, indices, update);
  if (var.is_meta()) return;
  const PagedCache table(
      {.op = kOp, .argument = "var"}, var,
      {.blocks = var.size(0),
       .tokens = 1,
       .row_bytes = var.size(1) * static_cast<std::int64_t>(var.element_size())});
  put_rows({.op = kOp, .argument = "indices"}, table, update.contiguous(), integers_in(indices));
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&scatter_nd_update>(m, "scatter_nd_update_asc");
});

}  // namespace
}  // namespace npu_sim::ops
