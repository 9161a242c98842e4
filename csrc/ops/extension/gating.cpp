// npu_moe_gating_top_k of custom_ops: torch_npu's operator of that name, for tokens in one axis or
// two. Source: cann-recipes-infer@fbc225d, ops/ascendc/docs/custom-npu_moe_gating_top_k.md.
#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/extension/npu_operator.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"

namespace npu_sim::ops {
namespace {

constexpr const char* kOp = "npu_moe_gating_top_k";

// --- work: as of torch_npu's operator, whose out_flag comes before the two factors. Choices that a
// table makes need no selection.
model::Work work(const aten::Call& call) {
  constexpr std::size_t kTable = 4;
  constexpr std::size_t kOutFlag = 12;
  const bool hashed = aten::tensor_at(call, kTable).defined();
  const std::int64_t picks = hashed ? 0 : aten::integer_at(call, 1, 1);
  model::Work row = aten::row_wise(call, aten::size_along(call.argument(0), -1),
                                   {.linear = aten::instructions(5 + 2 * picks),
                                    .special = 1,
                                    .reductions = aten::instructions(2 + picks)});
  auto* const described = std::get_if<model::RowWork>(&row);
  if (described == nullptr) return row;
  if (hashed) {  // of the table only the rows of these tokens are read
    described->read = described->read - aten::bytes_of(aten::tensor_at(call, kTable)) +
                      aten::bytes_of(call.result(1));
  }
  if (!aten::boolean_at(call, kOutFlag, false)) {
    described->written = described->written - aten::bytes_of(call.result(2));
  }
  return row;
}
constexpr aten::Entry kEntries[] = {{"custom::npu_moe_gating_top_k", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three gating_top_k(const at::Tensor& x, std::int64_t k, const MaybeTensor& bias,
                   const MaybeTensor& input_ids, const MaybeTensor& tid2eid, std::int64_t k_group,
                   std::int64_t group_count, double routed_scaling_factor, double eps,
                   std::int64_t group_select_mode, std::int64_t renorm, std::int64_t norm_type,
                   bool out_flag) {
  using Signature = Three(const at::Tensor&, std::int64_t, const MaybeTensor&, const MaybeTensor&,
                          const MaybeTensor&, std::int64_t, std::int64_t, std::int64_t,
                          std::int64_t, std::int64_t, bool, double, double);
  static const auto torch_npus = npu_operator<Signature>("npu::npu_moe_gating_top_k");
  TORCH_CHECK_VALUE((x.dim() == 2 || x.dim() == 3) && x.numel() > 0, kOp,
                    ": expected x of [tokens, experts] or [batch, tokens, experts] without empty ",
                    "axes, got ", x.sizes());
  TORCH_CHECK_TYPE(x.is_floating_point() && x.scalar_type() != at::kDouble, kOp,
                   ": expected x of bfloat16, float16 or float32, got ", x.scalar_type());
  TORCH_CHECK_TYPE(!given(bias) || bias->scalar_type() == x.scalar_type(), kOp,
                   ": expected bias of x's ", x.scalar_type(), ", got ",
                   given(bias) ? bias->scalar_type() : x.scalar_type());
  const auto [y, experts, scores] = torch_npus.call(
      x.reshape({-1, x.size(-1)}), k, bias, input_ids, tid2eid, k_group, group_count,
      group_select_mode, renorm, norm_type, out_flag, routed_scaling_factor, eps);
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = k;
  return {y.view(sizes), experts.view(sizes), scores.view(x.sizes())};
}

// --- registration
[[maybe_unused]] const bool kExtends = extend(
    "custom", [](torch::Library& m) { composed_kernel<&gating_top_k>(m, "npu_moe_gating_top_k"); });

}  // namespace
}  // namespace npu_sim::ops
