// npu_ring_attention_update and npu_attention_update: results of attention to parts of the keys
// become the result for all of them.
//
// Source: op-plugin@517f2e7d, tests and docs.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/stack.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/attention/layout.h"
#include "ops/attention/statistics.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: two products and a sum an element of the result, besides the weights of each row.
model::Work update_work(const aten::Call& call) {
  const aten::Traffic traffic = aten::traffic_of(call);
  const auto parts = static_cast<std::int64_t>(call.arguments[1].toListRef().size());
  return model::VectorWork{.elements = call.result().numel(),
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = aten::instructions(2 * parts)};
}
constexpr aten::Entry kEntries[] = {
    {"npu_ring_attention_update", aten::elements<3>},
    {"npu_attention_update", update_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kRing = "npu_ring_attention_update";

struct Part {
  const at::Tensor& out;
  const at::Tensor& greatest;
  const at::Tensor& sum;
};

void check_statistics(const at::Tensor& x, const at::Tensor& like) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kFloat, kRing,
                   ": expected softmax_max and softmax_sum of float32, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.sizes() == like.sizes(), kRing,
                    ": expected prev and cur softmax_max and softmax_sum of one shape, got ",
                    x.sizes(), " and ", like.sizes());
}

void check_parts(const Part& prev, const Part& cur) {
  const at::ScalarType dtype = prev.out.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kFloat || dtype == at::kBFloat16, kRing,
                   ": expected prev_attn_out of float16, float32 or bfloat16, got ", dtype);
  TORCH_CHECK_TYPE(cur.out.scalar_type() == dtype, kRing,
                   ": expected cur_attn_out of prev_attn_out's ", dtype, ", got ",
                   cur.out.scalar_type());
  TORCH_CHECK_VALUE(prev.out.dim() == 3 && prev.out.sizes() == cur.out.sizes(), kRing,
                    ": expected prev_attn_out and cur_attn_out of one shape of 3 axes, got ",
                    prev.out.sizes(), " and ", cur.out.sizes());
  for (const at::Tensor* const x : {&prev.greatest, &prev.sum, &cur.greatest, &cur.sum}) {
    check_statistics(*x, prev.greatest);
  }
}

void check_layouts(const Part& prev, std::string_view layout, std::string_view softmax_layout) {
  TORCH_CHECK_VALUE(layout == "SBH" || layout == "TND", kRing,
                    ": expected input_layout SBH or TND, got '", layout, "'");
  TORCH_CHECK_VALUE(softmax_layout.empty() || softmax_layout == "SBH" || softmax_layout == "TND",
                    kRing, ": expected input_softmax_layout '', SBH or TND, got '", softmax_layout,
                    "'");
  const at::IntArrayRef rows = prev.greatest.sizes();
  TORCH_CHECK_VALUE(rows.size() == (layout == "SBH" ? 4 : 3) && rows.back() == kStatisticsCopies,
                    kRing, ": expected softmax_max of ",
                    layout == "SBH" ? "[B, N, S, 8]" : "[T, N, 8]", ", got ", rows);
  const at::IntArrayRef out = prev.out.sizes();
  const bool fits = layout == "SBH" ? rows[0] == out[1] && rows[2] == out[0] && rows[1] > 0 &&
                                          out[2] % rows[1] == 0
                                    : rows[0] == out[0] && rows[1] == out[1];
  TORCH_CHECK_VALUE(fits, kRing, ": expected softmax_max of prev_attn_out's tokens and heads, got ",
                    rows, " for ", out);
}

// --- compute
// What a row of each part weighs; both are 0 where neither part saw a key.
struct Weights {
  at::Tensor prev;
  at::Tensor cur;
  at::Tensor greatest;
  at::Tensor sum;
};

at::Tensor brought_to(const at::Tensor& greatest, const Part& part) {
  return ((part.greatest - greatest).exp() * part.sum).masked_fill(part.sum == 0, 0);
}

Weights weights_of(const Part& prev, const Part& cur) {
  const at::Tensor greatest = at::maximum(prev.greatest, cur.greatest);
  const at::Tensor before = brought_to(greatest, prev);
  const at::Tensor now = brought_to(greatest, cur);
  const at::Tensor sum = before + now;
  const at::Tensor whole = sum.masked_fill(sum == 0, 1);
  return {before / whole, now / whole, greatest, sum};
}

// Weights [..., 8] as factors of `out` [batch, heads, tokens, width] rows.
at::Tensor factors(const at::Tensor& weights, std::string_view layout, std::string_view order,
                   const Integers& lengths) {
  const at::Tensor rows = weights.select(-1, 0);
  if (layout == "SBH") return rows.unsqueeze(-1);
  const at::Tensor by_token = order == "TND" ? rows : statistics_by_token(rows, lengths);
  return by_token.transpose(0, 1).unsqueeze(0).unsqueeze(-1);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ring_attention_update(
    const at::Tensor& prev_attn_out, const at::Tensor& prev_softmax_max,
    const at::Tensor& prev_softmax_sum, const at::Tensor& cur_attn_out,
    const at::Tensor& cur_softmax_max, const at::Tensor& cur_softmax_sum,
    const MaybeTensor& actual_seq_qlen, c10::string_view input_layout,
    c10::string_view input_softmax_layout) {
  const Part prev{prev_attn_out, prev_softmax_max, prev_softmax_sum};
  const Part cur{cur_attn_out, cur_softmax_max, cur_softmax_sum};
  check_parts(prev, cur);
  check_layouts(prev, input_layout, input_softmax_layout);
  const bool packed = input_layout == "TND";
  TORCH_CHECK_VALUE(!packed || given(actual_seq_qlen), kRing,
                    ": expected actual_seq_qlen in layout TND, got None");
  const ArgumentName name{kRing, "actual_seq_qlen"};
  if (given(actual_seq_qlen)) {
    TORCH_CHECK_TYPE(actual_seq_qlen->scalar_type() == at::kLong, kRing,
                     ": expected actual_seq_qlen of int64, got ", actual_seq_qlen->scalar_type());
  }
  if (prev_attn_out.is_meta()) {
    return {at::empty_like(prev_attn_out), at::empty_like(prev_softmax_max),
            at::empty_like(prev_softmax_sum)};
  }
  const Integers lengths =
      packed ? checked_lengths(name, integers_of(name, *actual_seq_qlen), prev_attn_out.size(0))
             : Integers{};
  const Weights weights = weights_of(prev, cur);
  const std::int64_t heads = prev_softmax_max.size(1);
  const auto weighted = [&](const Part& part, const at::Tensor& weight) {
    return widened(heads_first(part.out, input_layout, heads)) *
           factors(weight, input_layout, input_softmax_layout, lengths);
  };
  const at::Tensor out = weighted(prev, weights.prev) + weighted(cur, weights.cur);
  return {in_layout(out.to(prev_attn_out.scalar_type()), input_layout), weights.greatest,
          weights.sum};
}

// Limits of the card. Source: op-plugin@517f2e7d docs, npu_attention_update.
constexpr std::int64_t kMostParts = 16;
constexpr std::int64_t kWidest = 512;

void check_update(at::TensorList lse, at::TensorList local_out, std::int64_t update_type) {
  constexpr const char* kOp = "npu_attention_update";
  const auto parts = static_cast<std::int64_t>(lse.size());
  TORCH_CHECK_VALUE(parts >= 1 && parts <= kMostParts && local_out.size() == lse.size(), kOp,
                    ": expected lse and local_out of as many tensors, 1 to ", kMostParts, ", got ",
                    parts, " and ", local_out.size());
  TORCH_CHECK_VALUE(update_type == 0 || update_type == 1, kOp,
                    ": expected update_type 0 (out) or 1 (out and lse), got ", update_type);
  const at::Tensor& first = local_out[0];
  TORCH_CHECK_VALUE(
      first.dim() == 2 && first.size(1) % 8 == 0 && first.size(1) >= 8 && first.size(1) <= kWidest,
      kOp, ": expected local_out of [rows, a multiple of 8 up to ", kWidest, "], got ",
      first.sizes());
  TORCH_CHECK_TYPE(first.scalar_type() == at::kFloat || first.scalar_type() == at::kHalf ||
                       first.scalar_type() == at::kBFloat16,
                   kOp, ": expected local_out of float32, float16 or bfloat16, got ",
                   first.scalar_type());
  for (std::size_t i = 0; i < lse.size(); ++i) {
    TORCH_CHECK_TYPE(
        lse[i].scalar_type() == at::kFloat && local_out[i].scalar_type() == first.scalar_type(),
        kOp, ": expected lse of float32 and local_out of one dtype, got ", lse[i].scalar_type(),
        " and ", local_out[i].scalar_type());
    TORCH_CHECK_VALUE(
        lse[i].sizes() == at::IntArrayRef({first.size(0)}) && local_out[i].sizes() == first.sizes(),
        kOp, ": expected lse of [", first.size(0), "] and local_out of ", first.sizes(), ", got ",
        lse[i].sizes(), " and ", local_out[i].sizes());
  }
}

std::tuple<at::Tensor, at::Tensor> attention_update(at::TensorList lse, at::TensorList local_out,
                                                    std::int64_t update_type) {
  check_update(lse, local_out, update_type);
  const at::Tensor all = at::stack(lse);
  const at::Tensor total = at::logsumexp(all, 0);
  // Parts that saw no key have an lse of -infinity and no weight.
  const at::Tensor weights = (all - total).exp().masked_fill(all.isneginf(), 0).unsqueeze(-1);
  at::Tensor out = widened(local_out[0]) * weights.select(0, 0);
  for (std::size_t i = 1; i < local_out.size(); ++i) {
    out.add_(widened(local_out[i]) * weights.select(0, static_cast<std::int64_t>(i)));
  }
  return {out.to(local_out[0].scalar_type()), update_type == 1 ? total : at::Tensor()};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&ring_attention_update>(m, "npu_ring_attention_update");
  composed_kernel<&attention_update>(m, "npu_attention_update");
}

}  // namespace
}  // namespace npu_sim::ops
