// npu_fused_floyd_attention: each pair (i, k) attends to all j by way of the pairs (i, j) and
// (j, k), as triangle attention on a graph does; and its gradient.
//
// query_ik [B, H, N, M, D], key_ij and value_ij [B, H, N, K, D], key_jk and value_jk
// [B, H, K, M, D]; atten_mask [B, 1, N, 1, K], 1 hides. Source: op-plugin@517f2e7d, docs and tests.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/attention/statistics.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: an attention in each row i, whose queries all meet keys of two kinds.
template <std::size_t query, bool backward>
model::Work floyd_work(const aten::Call& call) {
  const at::Tensor& q = call.argument(query);
  const at::Tensor& key = call.argument(query + 1);
  const std::int64_t width = aten::size_along(q, 4);
  return model::AttentionWork{.batch = aten::size_along(q, 0) * aten::size_along(q, 2),
                              .q_heads = aten::size_along(q, 1),
                              .kv_heads = aten::size_along(q, 1),
                              .q_len = aten::size_along(q, 3),
                              .kv_len = aten::size_along(key, 3),
                              .qk_dim = 2 * width,
                              .v_dim = 2 * width,
                              .format = aten::format_of(q),
                              .backward = backward,
                              .mask = aten::bytes_of(aten::tensor_at(call, backward ? 9 : 5))};
}
constexpr aten::Entry kEntries[] = {
    {"npu_fused_floyd_attention", floyd_work<0, false>},
    {"npu_fused_floyd_attention_backward", floyd_work<1, true>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Floyd {
  const char* op;
  at::Tensor query;     // [B, H, N, M, D]
  at::Tensor key_ij;    // [B, H, N, K, D]
  at::Tensor value_ij;  // the same
  at::Tensor key_jk;    // [B, H, K, M, D]
  at::Tensor value_jk;  // the same
  at::Tensor mask;      // [B, 1, N, 1, K] or undefined
  double scale;
};

void check_shape(const Floyd& on, const char* name, const at::Tensor& x, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(x.sizes() == sizes, on.op, ": expected ", name, " of ", sizes, ", got ",
                    x.sizes());
}

void check(const Floyd& on) {
  const at::ScalarType dtype = on.query.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kHalf || dtype == at::kBFloat16, on.op,
                   ": expected query_ik of float16 or bfloat16, got ", dtype);
  for (const at::Tensor* const x : {&on.key_ij, &on.value_ij, &on.key_jk, &on.value_jk}) {
    TORCH_CHECK_TYPE(x->scalar_type() == dtype, on.op, ": expected keys and values of query_ik's ",
                     dtype, ", got ", x->scalar_type());
  }
  TORCH_CHECK_VALUE(on.query.dim() == 5, on.op, ": expected query_ik of [B, H, N, M, D], got ",
                    on.query.sizes());
  TORCH_CHECK_VALUE(on.key_ij.dim() == 5, on.op, ": expected key_ij of [B, H, N, K, D], got ",
                    on.key_ij.sizes());
  const at::IntArrayRef q = on.query.sizes();
  const std::int64_t keys = on.key_ij.size(3);
  check_shape(on, "key_ij", on.key_ij, {q[0], q[1], q[2], keys, q[4]});
  check_shape(on, "value_ij", on.value_ij, on.key_ij.sizes());
  check_shape(on, "key_jk", on.key_jk, {q[0], q[1], keys, q[3], q[4]});
  check_shape(on, "value_jk", on.value_jk, on.key_jk.sizes());
  TORCH_CHECK_VALUE(keys > 0, on.op, ": expected key_ij with at least one key, got ",
                    on.key_ij.sizes());
  if (!on.mask.defined()) return;
  check_shape(on, "atten_mask", on.mask, {q[0], 1, q[2], 1, keys});
  TORCH_CHECK_TYPE(on.mask.scalar_type() == at::kBool || on.mask.scalar_type() == at::kByte, on.op,
                   ": expected atten_mask of bool or uint8, got ", on.mask.scalar_type());
}

// --- compute
// Rows [first, first + count) of one batch and head, in fp32.
struct Block {
  at::Tensor query;     // [n, M, D]
  at::Tensor key_ij;    // [n, K, D]
  at::Tensor value_ij;  // [n, K, D]
  at::Tensor key_jk;    // [M, K, D]
  at::Tensor value_jk;  // [M, K, D]
  at::Tensor hidden;    // [n, 1, K] or undefined
};

// Scores held at once: 4 MiB in fp32.
constexpr std::int64_t kScores = 1 << 20;

// Calls `take` for all blocks with batch, head, first row and rows; blocks of one head follow one
// another on one thread.
template <class Take>
void for_blocks(const Floyd& on, const Take& take) {
  const at::IntArrayRef q = on.query.sizes();
  const std::int64_t row = std::max<std::int64_t>(1, q[3] * on.key_ij.size(3));
  const std::int64_t step = std::max<std::int64_t>(1, kScores / row);
  at::parallel_for(0, q[0] * q[1], 1, [&](std::int64_t begin, std::int64_t end) {
    const at::AutoDispatchBelowAutograd below;
    for (std::int64_t p = begin; p < end; ++p) {
      for (std::int64_t first = 0; first < q[2]; first += step) {
        take(p / q[1], p % q[1], first, std::min(step, q[2] - first));
      }
    }
  });
}

Block block_of(const Floyd& on, std::int64_t batch, std::int64_t head, std::int64_t first,
               std::int64_t count) {
  const auto rows = [&](const at::Tensor& x) {
    return widened(x[batch][head].narrow(0, first, count));
  };
  const auto pairs = [&](const at::Tensor& x) { return widened(x[batch][head].transpose(0, 1)); };
  return {.query = rows(on.query),
          .key_ij = rows(on.key_ij),
          .value_ij = rows(on.value_ij),
          .key_jk = pairs(on.key_jk),
          .value_jk = pairs(on.value_jk),
          .hidden = on.mask.defined() ? on.mask[batch][0].narrow(0, first, count).to(at::kBool)
                                      : at::Tensor()};
}

// x [n, M, D] times both kinds of pairs: [n, M, K].
at::Tensor against(const at::Tensor& x, const at::Tensor& ij, const at::Tensor& jk) {
  return at::bmm(x, ij.mT()) + at::bmm(x.transpose(0, 1), jk.mT()).transpose(0, 1);
}

// weights [n, M, K] times both kinds of pairs: [n, M, D].
at::Tensor mixed(const at::Tensor& weights, const at::Tensor& ij, const at::Tensor& jk) {
  return at::bmm(weights, ij) + at::bmm(weights.transpose(0, 1), jk).transpose(0, 1);
}

// A hidden score is -4e9 before the scale, as in the golden.
at::Tensor scores_of(const Floyd& on, const Block& block) {
  constexpr double kHidden = -4e9;
  at::Tensor scores = against(block.query, block.key_ij, block.key_jk);
  if (block.hidden.defined()) scores.add_(block.hidden, kHidden);
  return scores.mul_(on.scale);
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

at::Tensor statistics_like(const at::Tensor& query) {
  const at::IntArrayRef q = query.sizes();
  return at::empty({q[0], q[1], q[2], q[3], kStatisticsCopies}, query.options().dtype(at::kFloat));
}

Three floyd_attention(const at::Tensor& query_ik, const at::Tensor& key_ij,
                      const at::Tensor& value_ij, const at::Tensor& key_jk,
                      const at::Tensor& value_jk, const MaybeTensor& atten_mask,
                      double scale_value) {
  const Floyd on{.op = "npu_fused_floyd_attention",
                 .query = query_ik,
                 .key_ij = key_ij,
                 .value_ij = value_ij,
                 .key_jk = key_jk,
                 .value_jk = value_jk,
                 .mask = atten_mask.value_or(at::Tensor()),
                 .scale = scale_value};
  check(on);
  const at::Tensor greatest = statistics_like(query_ik);
  const at::Tensor sum = at::empty_like(greatest);
  const at::Tensor out = at::empty_like(query_ik, at::MemoryFormat::Contiguous);
  if (query_ik.is_meta()) return {greatest, sum, out};
  for_blocks(on, [&](std::int64_t batch, std::int64_t head, std::int64_t first,
                     std::int64_t count) {
    const Block block = block_of(on, batch, head, first, count);
    at::Tensor weights = scores_of(on, block);
    const at::Tensor most = weights.amax(-1, true);
    weights.sub_(most).exp_();
    const at::Tensor total = weights.sum(-1, true);
    const auto rows = [&](const at::Tensor& x) { return x[batch][head].narrow(0, first, count); };
    rows(greatest).copy_(most.expand({-1, -1, kStatisticsCopies}));
    rows(sum).copy_(total.expand({-1, -1, kStatisticsCopies}));
    rows(out).copy_(mixed(weights.div_(total), block.value_ij, block.value_jk));
  });
  return {greatest, sum, out};
}

// --- gradient
using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Adds weights^T x of [n, M, K] and [n, M, D] to fp32 sums of both kinds of pairs.
void add_pairs(const at::Tensor& weights, const at::Tensor& x, const at::Tensor& ij,
               const at::Tensor& jk) {
  ij.add_(at::bmm(weights.mT(), x));
  jk.add_(at::bmm(weights.permute({1, 2, 0}), x.transpose(0, 1)).transpose(0, 1));
}

Five floyd_attention_backward(const at::Tensor& grad_output, const at::Tensor& query_ik,
                              const at::Tensor& key_ij, const at::Tensor& value_ij,
                              const at::Tensor& key_jk, const at::Tensor& value_jk,
                              const at::Tensor& attention_out, const at::Tensor& softmax_max,
                              const at::Tensor& softmax_sum, const MaybeTensor& atten_mask,
                              double scale_value) {
  const Floyd on{.op = "npu_fused_floyd_attention_backward",
                 .query = query_ik,
                 .key_ij = key_ij,
                 .value_ij = value_ij,
                 .key_jk = key_jk,
                 .value_jk = value_jk,
                 .mask = atten_mask.value_or(at::Tensor()),
                 .scale = scale_value};
  check(on);
  check_shape(on, "grad_output", grad_output, query_ik.sizes());
  check_shape(on, "attention_out", attention_out, query_ik.sizes());
  check_shape(on, "softmax_max", softmax_max, statistics_like(query_ik).sizes());
  check_shape(on, "softmax_sum", softmax_sum, statistics_like(query_ik).sizes());
  const auto like = [](const at::Tensor& x) {
    return at::zeros(x.sizes(), x.options().dtype(at::kFloat));
  };
  const at::Tensor d_query = like(query_ik);
  const at::Tensor d_key_ij = like(key_ij);
  const at::Tensor d_value_ij = like(value_ij);
  const at::Tensor d_key_jk = like(key_jk);
  const at::Tensor d_value_jk = like(value_jk);
  const auto narrowed = [&](const at::Tensor& x) { return x.to(query_ik.scalar_type()); };
  const auto results = [&]() -> Five {
    return {narrowed(d_query), narrowed(d_key_ij), narrowed(d_value_ij), narrowed(d_key_jk),
            narrowed(d_value_jk)};
  };
  if (query_ik.is_meta()) return results();
  for_blocks(on, [&](std::int64_t batch, std::int64_t head, std::int64_t first,
                     std::int64_t count) {
    const Block block = block_of(on, batch, head, first, count);
    const auto rows = [&](const at::Tensor& x) { return x[batch][head].narrow(0, first, count); };
    const auto column = [&](const at::Tensor& x) { return rows(x).narrow(-1, 0, 1); };
    const at::Tensor weights =
        (scores_of(on, block) - column(softmax_max)).exp_().div_(column(softmax_sum));
    const at::Tensor grad = widened(rows(grad_output));
    const at::Tensor delta = (grad * widened(rows(attention_out))).sum(-1, true);
    const at::Tensor d_scores =
        (against(grad, block.value_ij, block.value_jk) - delta).mul_(weights).mul_(on.scale);
    rows(d_query).copy_(mixed(d_scores, block.key_ij, block.key_jk));
    add_pairs(d_scores, block.query, rows(d_key_ij), d_key_jk[batch][head]);
    add_pairs(weights, grad, rows(d_value_ij), d_value_jk[batch][head]);
  });
  return results();
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&floyd_attention>(m, "npu_fused_floyd_attention");
  composed_kernel<&floyd_attention_backward>(m, "npu_fused_floyd_attention_backward");
  derivative(m, "npu_fused_floyd_attention",
             "query_ik, key_ij, value_ij, key_jk, value_jk: "
             "npu_fused_floyd_attention_backward(grad2, query_ik, key_ij, value_ij, key_jk, "
             "value_jk, result2, result0, result1, atten_mask, scale_value)");
}

}  // namespace
}  // namespace npu_sim::ops
