// Products fused with an exchange between cards, before or after them, in a group of one card.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "aten/describe/work_of.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/moe/exchange.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the product; what a card sends to itself does not move.
template <std::size_t bias>
model::Work product(const aten::Call& call) {
  return aten::work_of::matmul(aten::tensor_at(call, 0), aten::tensor_at(call, 1), call.result(),
                               aten::tensor_at(call, bias).defined());
}
// Experts without rows read no weights. Counts at `list`, whether the weight is turned at `turned`.
template <std::size_t list, std::size_t turned>
model::Work by_expert(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  Integers counts = aten::integers_at(call, list).value_or(Integers{});
  if (counts.empty() || x.numel() == 0) return model::NoWork{};
  return model::GroupedMatmulWork{
      .rows = model::GroupSizes(std::move(counts)),
      .n =
          aten::size_along(aten::tensor_at(call, 1), aten::boolean_at(call, turned, false) ? 1 : 2),
      .k = aten::size_along(x, 1),
      .a = aten::format_of(x),
      .b = aten::format_of(aten::tensor_at(call, 1)),
      .out = aten::format_of(call.result())};
}
// The shared expert's product, where there is one.
model::Work shared_product(const aten::Call& call) {
  constexpr std::size_t kX = 8;
  constexpr std::size_t kWeight = 9;
  constexpr std::size_t kTurned = 11;
  const at::Tensor& x = aten::tensor_at(call, kX);
  if (!x.defined()) return model::NoWork{};
  const at::Tensor& weight = aten::tensor_at(call, kWeight);
  const bool turned = aten::boolean_at(call, kTurned, false);
  return model::MatmulWork{.m = x.size(0),
                           .n = weight.size(turned ? 0 : 1),
                           .k = x.size(1),
                           .a = aten::format_of(x),
                           .b = aten::format_of(weight),
                           .out = aten::format_of(x),
                           .b_transposed = turned};
}
constexpr aten::Describer kThenShared[] = {shared_product};
constexpr aten::Entry kEntries[] = {
    {"npu_all_gather_base_mm", product<4>},
    {"npu_all_to_all_matmul", product<4>},
    {"npu_alltoallv_gmm", by_expert<5, 10>, kThenShared},
    {"npu_gmm_alltoallv", by_expert<4, 10>, kThenShared},
    {"npu_matmul_all_to_all", product<4>},
    {"npu_mm_all_reduce_base", product<4>},
    {"npu_mm_reduce_scatter_base", product<5>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void refuse_quantised(const char* op, std::initializer_list<const MaybeTensor*> scales) {
  for (const MaybeTensor* const scale : scales) {
    TORCH_CHECK_NOT_IMPLEMENTED(!given(*scale), op,
                                ": scales (a quantised product) are not built yet; pass None");
  }
}

void check_operands(const char* op, const at::Tensor& x1, const at::Tensor& x2,
                    const MaybeTensor& bias) {
  TORCH_CHECK_TYPE((x1.scalar_type() == at::kHalf || x1.scalar_type() == at::kBFloat16) &&
                       x1.scalar_type() == x2.scalar_type(),
                   op, ": expected operands of float16, or of bfloat16, got ", x1.scalar_type(),
                   " and ", x2.scalar_type());
  TORCH_CHECK_VALUE(x1.dim() >= 2 && x2.dim() == 2 && x1.size(-1) == x2.size(0), op,
                    ": expected operands of [m, k] and [k, n], got ", x1.sizes(), " and ",
                    x2.sizes());
  TORCH_CHECK_VALUE(!given(bias) || (bias->dim() == 1 && bias->size(0) == x2.size(1)), op,
                    ": expected bias of [", x2.size(1), "], got ",
                    given(bias) ? bias->sizes() : at::IntArrayRef{});
}

void check_matrix(const char* op, const char* argument, const at::Tensor& x) {
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": expected ", argument, " of [m, k], got ", x.sizes());
}

void check_sum(const char* op, std::string_view reduce_op) {
  TORCH_CHECK_VALUE(reduce_op == "sum", op, ": expected reduce_op of 'sum', got '", reduce_op, "'");
}

void check_axes(const char* op, at::OptionalIntArrayRef axes, at::IntArrayRef expected) {
  TORCH_CHECK_VALUE(!axes.has_value() || axes->empty() || *axes == expected, op,
                    ": expected all2all_axes of None or ", expected, ", got ", *axes);
}

// --- compute
// In fp32, rounded once.
at::Tensor product_of(const at::Tensor& x1, const at::Tensor& x2, const MaybeTensor& bias,
                      const MaybeTensor& added = std::nullopt) {
  at::Tensor wide = at::matmul(widened(x1), widened(x2));
  if (given(bias)) wide = wide + widened(*bias);
  if (given(added)) wide = wide + widened(*added);
  return wide.to(x1.scalar_type());
}

at::Tensor mm_all_reduce(const at::Tensor& x1, const at::Tensor& x2, c10::string_view hcom,
                         c10::string_view reduce_op, const MaybeTensor& bias,
                         const MaybeTensor& antiquant_scale, const MaybeTensor& antiquant_offset,
                         const MaybeTensor& x3, const MaybeTensor& dequant_scale,
                         const MaybeTensor& pertoken_scale, const MaybeTensor& comm_quant_scale_1,
                         const MaybeTensor& comm_quant_scale_2,
                         [[maybe_unused]] std::int64_t antiquant_group_size,
                         [[maybe_unused]] std::int64_t comm_turn,
                         [[maybe_unused]] at::OptionalIntArrayRef group_sizes,
                         [[maybe_unused]] std::optional<std::int64_t> y_dtype,
                         [[maybe_unused]] std::optional<std::int64_t> x1_dtype,
                         [[maybe_unused]] std::optional<std::int64_t> x2_dtype,
                         [[maybe_unused]] std::optional<std::int64_t> dequant_scale_dtype,
                         [[maybe_unused]] std::optional<std::int64_t> pertoken_scale_dtype,
                         [[maybe_unused]] std::int64_t comm_quant_mode,
                         [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_mm_all_reduce_base";
  const CardGroup group = group_named({kOp, "hcom"}, hcom);
  refuse_quantised(kOp, {&antiquant_scale, &antiquant_offset, &dequant_scale, &pertoken_scale,
                         &comm_quant_scale_1, &comm_quant_scale_2});
  check_sum(kOp, reduce_op);
  check_operands(kOp, x1, x2, bias);
  std::vector<std::int64_t> sizes = x1.sizes().vec();
  sizes.back() = x2.size(1);
  TORCH_CHECK_VALUE(!given(x3) || x3->sizes() == sizes, kOp, ": expected x3 of ",
                    at::IntArrayRef(sizes), ", got ", given(x3) ? x3->sizes() : at::IntArrayRef{});
  return all_reduce(group, product_of(x1, x2, bias, x3));
}

std::tuple<at::Tensor, at::Tensor> all_gather_mm(
    const at::Tensor& input, const at::Tensor& x2, [[maybe_unused]] c10::string_view hcom,
    std::int64_t world_size, const MaybeTensor& bias, const MaybeTensor& x1_scale,
    const MaybeTensor& x2_scale, std::int64_t gather_index, bool gather_output,
    [[maybe_unused]] std::int64_t comm_turn,
    [[maybe_unused]] std::optional<at::ScalarType> output_dtype,
    [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_all_gather_base_mm";
  const CardGroup group = group_of({kOp, "world_size"}, world_size);
  refuse_quantised(kOp, {&x1_scale, &x2_scale});
  check_matrix(kOp, "input", input);
  check_operands(kOp, input, x2, bias);
  TORCH_CHECK_VALUE(gather_index == 0, kOp, ": expected gather_index of 0, got ", gather_index);
  const at::Tensor gathered = all_gather(group, input);
  return {product_of(gathered, x2, bias),
          gather_output ? gathered.clone() : at::empty({0}, input.options())};
}

at::Tensor mm_reduce_scatter(const at::Tensor& input, const at::Tensor& x2,
                             [[maybe_unused]] c10::string_view hcom, std::int64_t world_size,
                             c10::string_view reduce_op, const MaybeTensor& bias,
                             const MaybeTensor& x1_scale, const MaybeTensor& x2_scale,
                             [[maybe_unused]] std::int64_t comm_turn,
                             [[maybe_unused]] std::optional<at::ScalarType> output_dtype,
                             [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_mm_reduce_scatter_base";
  const CardGroup group = group_of({kOp, "world_size"}, world_size);
  refuse_quantised(kOp, {&x1_scale, &x2_scale});
  check_sum(kOp, reduce_op);
  check_matrix(kOp, "input", input);
  check_operands(kOp, input, x2, bias);
  return reduce_scatter(group, product_of(input, x2, bias));
}

// Rows that every card sends to every other in equal parts.
at::Tensor exchanged(const CardGroup& group, const at::Tensor& rows) {
  const Integers each(static_cast<std::size_t>(group.size), rows.size(0) / group.size);
  return all_to_all(group, rows, each, each);
}

std::tuple<at::Tensor, at::Tensor> all_to_all_matmul(
    const at::Tensor& x1, const at::Tensor& x2, [[maybe_unused]] c10::string_view hcom,
    std::int64_t world_size, const MaybeTensor& bias, at::OptionalIntArrayRef all2all_axes,
    bool all2all_out_flag, [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_all_to_all_matmul";
  const CardGroup group = group_of({kOp, "world_size"}, world_size);
  check_matrix(kOp, "x1", x1);
  check_operands(kOp, x1, x2, bias);
  check_axes(kOp, all2all_axes, {-2, -1});
  const at::Tensor received = exchanged(group, x1);
  return {product_of(received, x2, bias), all2all_out_flag ? received.clone() : at::Tensor()};
}

at::Tensor matmul_all_to_all(const at::Tensor& x1, const at::Tensor& x2,
                             [[maybe_unused]] c10::string_view hcom, std::int64_t world_size,
                             const MaybeTensor& bias, at::OptionalIntArrayRef all2all_axes,
                             [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_matmul_all_to_all";
  const CardGroup group = group_of({kOp, "world_size"}, world_size);
  check_matrix(kOp, "x1", x1);
  check_operands(kOp, x1, x2, bias);
  check_axes(kOp, all2all_axes, {-1, -2});
  return exchanged(group, product_of(x1, x2, bias));
}

// What both products by expert are told. Counts are [cards, experts], in the order of the cards.
struct ByExpert {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& weight;  // [experts, k, n], or [experts, n, k] where turned
  bool turned;
  at::IntArrayRef send;
  at::IntArrayRef recv;
};

void check_by_expert(const ByExpert& by_expert, const CardGroup& group) {
  const at::Tensor& x = by_expert.x;
  const at::Tensor& weight = by_expert.weight;
  check_matrix(by_expert.op, "gmm_x", x);
  TORCH_CHECK_TYPE(x.scalar_type() == weight.scalar_type() &&
                       (x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16),
                   by_expert.op, ": expected gmm_x and gmm_weight of float16, or of bfloat16, got ",
                   x.scalar_type(), " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(weight.dim() == 3 && weight.size(by_expert.turned ? 2 : 1) == x.size(1),
                    by_expert.op, ": expected gmm_weight of three axes for gmm_x of ", x.sizes(),
                    ", got ", weight.sizes());
  const auto counts = static_cast<std::size_t>(weight.size(0) * group.size);
  TORCH_CHECK_VALUE(by_expert.send.size() == counts && by_expert.recv.size() == counts,
                    by_expert.op, ": expected send_counts and recv_counts of ", counts,
                    " numbers, one for each expert of each card, got ", by_expert.send.size(),
                    " and ", by_expert.recv.size());
  const auto negative = [](std::int64_t count) { return count < 0; };
  TORCH_CHECK_VALUE(std::ranges::none_of(by_expert.send, negative) &&
                        c10::sum_integers(by_expert.send) == x.size(0),
                    by_expert.op, ": expected send_counts of 0 or more that add up to the ",
                    x.size(0), " rows of gmm_x, got ", by_expert.send);
  TORCH_CHECK_VALUE(group.size != 1 || by_expert.send == by_expert.recv, by_expert.op,
                    ": expected recv_counts equal to send_counts on a card alone, got ",
                    by_expert.recv, " and ", by_expert.send);
}

// How many rows each card gets.
Integers by_card(at::IntArrayRef counts, const CardGroup& group) {
  const std::size_t experts = counts.size() / static_cast<std::size_t>(group.size);
  Integers rows;
  for (std::size_t first = 0; first < counts.size(); first += std::max<std::size_t>(experts, 1)) {
    rows.push_back(c10::sum_integers(counts.slice(first, experts)));
  }
  rows.resize(static_cast<std::size_t>(group.size));
  return rows;
}

// Rows in the order of their experts, counts[e] of them, each times its expert's matrix.
at::Tensor grouped_product(const ByExpert& by_expert, const at::Tensor& rows,
                           at::IntArrayRef counts) {
  const at::Tensor weight = by_expert.turned ? by_expert.weight.transpose(1, 2) : by_expert.weight;
  std::vector<at::Tensor> parts{at::empty({0, weight.size(2)}, rows.options())};
  std::int64_t first = 0;
  for (std::int64_t expert = 0; expert < weight.size(0); ++expert) {
    const std::int64_t count = counts[static_cast<std::size_t>(expert)];
    parts.push_back(
        product_of(rows.narrow(0, first, count), weight.select(0, expert), std::nullopt));
    first += count;
  }
  return at::cat(parts);
}

// The shared expert's product; an undefined tensor where there is none.
at::Tensor shared_expert(const char* op, const MaybeTensor& x, const MaybeTensor& weight,
                         bool turned) {
  TORCH_CHECK_VALUE(given(x) == given(weight), op,
                    ": expected mm_x and mm_weight both or neither, got one");
  if (!given(x)) return {};
  const at::Tensor matrix = turned ? weight->transpose(0, 1) : *weight;
  check_operands(op, *x, matrix, std::nullopt);
  return product_of(*x, matrix, std::nullopt);
}

void refuse_counts(const char* op, const MaybeTensor& send, const MaybeTensor& recv) {
  TORCH_CHECK_VALUE(!given(send) && !given(recv), op,
                    ": expected no send_counts_tensor and recv_counts_tensor, got one");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> alltoallv_gmm(
    const at::Tensor& gmm_x, const at::Tensor& gmm_weight, [[maybe_unused]] c10::string_view hcom,
    std::int64_t ep_world_size, at::IntArrayRef send_counts, at::IntArrayRef recv_counts,
    const MaybeTensor& send_counts_tensor, const MaybeTensor& recv_counts_tensor,
    const MaybeTensor& mm_x, const MaybeTensor& mm_weight, bool trans_gmm_weight,
    bool trans_mm_weight, bool permute_out_flag,
    [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_alltoallv_gmm";
  const CardGroup group = group_of({kOp, "ep_world_size"}, ep_world_size);
  refuse_counts(kOp, send_counts_tensor, recv_counts_tensor);
  const ByExpert by_expert{kOp, gmm_x, gmm_weight, trans_gmm_weight, send_counts, recv_counts};
  check_by_expert(by_expert, group);
  const at::Tensor rows =
      all_to_all(group, gmm_x, by_card(send_counts, group), by_card(recv_counts, group));
  return {grouped_product(by_expert, rows, recv_counts),
          shared_expert(kOp, mm_x, mm_weight, trans_mm_weight),
          permute_out_flag ? rows.clone() : at::Tensor()};
}

std::tuple<at::Tensor, at::Tensor> gmm_alltoallv(
    const at::Tensor& gmm_x, const at::Tensor& gmm_weight, [[maybe_unused]] c10::string_view hcom,
    std::int64_t ep_world_size, at::IntArrayRef send_counts, at::IntArrayRef recv_counts,
    const MaybeTensor& send_counts_tensor, const MaybeTensor& recv_counts_tensor,
    const MaybeTensor& mm_x, const MaybeTensor& mm_weight, bool trans_gmm_weight,
    bool trans_mm_weight, [[maybe_unused]] std::optional<c10::string_view> comm_mode) {
  constexpr const char* kOp = "npu_gmm_alltoallv";
  const CardGroup group = group_of({kOp, "ep_world_size"}, ep_world_size);
  refuse_counts(kOp, send_counts_tensor, recv_counts_tensor);
  const ByExpert by_expert{kOp, gmm_x, gmm_weight, trans_gmm_weight, send_counts, recv_counts};
  check_by_expert(by_expert, group);
  const Integers sent = by_card(send_counts, group);
  const Integers received = by_card(recv_counts, group);
  const at::Tensor rows = grouped_product(by_expert, gmm_x, send_counts);
  return {all_to_all(group, rows, sent, received),
          shared_expert(kOp, mm_x, mm_weight, trans_mm_weight)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&all_gather_mm>(m, "npu_all_gather_base_mm");
  composed_kernel<&all_to_all_matmul>(m, "npu_all_to_all_matmul");
  composed_kernel<&alltoallv_gmm>(m, "npu_alltoallv_gmm");
  composed_kernel<&gmm_alltoallv>(m, "npu_gmm_alltoallv");
  composed_kernel<&matmul_all_to_all>(m, "npu_matmul_all_to_all");
  composed_kernel<&mm_all_reduce>(m, "npu_mm_all_reduce_base");
  composed_kernel<&mm_reduce_scatter>(m, "npu_mm_reduce_scatter_base");
}

}  // namespace
}  // namespace npu_sim::ops
