// npu_fusion_attention, npu_fusion_attention_v2 and their gradients: attention for training.
//
// query, key and value in layout BSH, SBH, BSND, BNSD or TND; key and value may have fewer heads.
// softmax_max and softmax_sum are fp32 [B, N, S, 8], in TND [T, N, 8]: each value eight times.
// Source: op-plugin@517f2e7d, docs and tests of npu_fusion_attention.
#include "ops/attention/fusion_attention.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>

#include <limits>
#include <mutex>

#include "aten/describe/registry.h"
#include "ops/attention/fusion_work.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

// --- work
constexpr std::size_t kNone = 99;
model::Work forward_work(const aten::Call& call) {
  return fusion_work(call, {.head_num = 3,
                            .layout = 4,
                            .bias = 5,
                            .mask = 7,
                            .query_rope = kNone,
                            .pre_tokens = 10,
                            .prefix = 13,
                            .backward = false});
}
model::Work forward_v2_work(const aten::Call& call) {
  return fusion_work(call, {.head_num = 3,
                            .layout = 4,
                            .bias = 5,
                            .mask = 7,
                            .query_rope = 8,
                            .pre_tokens = 12,
                            .prefix = 15,
                            .backward = false});
}
model::Work backward_work(const aten::Call& call) {
  return fusion_work(call, {.head_num = 4,
                            .layout = 5,
                            .bias = 6,
                            .mask = 8,
                            .query_rope = kNone,
                            .pre_tokens = 15,
                            .prefix = 21,
                            .backward = true});
}
model::Work backward_v2_work(const aten::Call& call) {
  return fusion_work(call, {.head_num = 4,
                            .layout = 5,
                            .bias = 6,
                            .mask = 8,
                            .query_rope = 13,
                            .pre_tokens = 17,
                            .prefix = 23,
                            .backward = true});
}
constexpr aten::Entry kEntries[] = {
    {"npu_fusion_attention", forward_work},
    {"npu_fusion_attention_v2", forward_v2_work},
    {"npu_fusion_attention_grad", backward_work},
    {"npu_fusion_attention_grad_v2", backward_v2_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
std::optional<Integers> integers_of(const at::OptionalIntArrayRef& list) {
  return list.has_value() && !list->empty() ? std::optional(list->vec()) : std::nullopt;
}

at::Tensor tensor_of(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }

// The arguments that all four operators take, by their places in the schemas.
struct Optional {
  const MaybeTensor& pse;
  const MaybeTensor& padding_mask;
  const MaybeTensor& atten_mask;
  const MaybeTensor& sink;
};
struct Sparsity {
  std::int64_t mode;
  std::int64_t pre_tokens;
  std::int64_t next_tokens;
  const at::OptionalIntArrayRef& prefix;
  const at::OptionalIntArrayRef& query_sums;
  const at::OptionalIntArrayRef& key_sums;
};
struct Numbers {
  std::int64_t heads;
  c10::string_view layout;
  c10::string_view softmax_layout;
  double scale;
  double keep_prob;
  std::int64_t seed;
  std::int64_t offset;
};

Fusion fusion_of(const char* op, const std::array<at::Tensor, 3>& operands,
                 const Optional& optional, const Sparsity& sparsity, const Numbers& numbers) {
  Fusion on;
  on.op = op;
  on.query = operands[0];
  on.key = operands[1];
  on.value = operands[2];
  on.heads = numbers.heads;
  on.layout = std::string(numbers.layout);
  on.bias.values = tensor_of(optional.pse);
  on.padding_mask = tensor_of(optional.padding_mask);
  on.mask = tensor_of(optional.atten_mask);
  on.sink = tensor_of(optional.sink);
  on.scale = numbers.scale;
  on.keep_prob = numbers.keep_prob;
  on.seed = numbers.seed;
  on.offset = numbers.offset;
  on.sparse = {.mode = sparsity.mode,
               .pre_tokens = sparsity.pre_tokens,
               .next_tokens = sparsity.next_tokens,
               .prefix = integers_of(sparsity.prefix).value_or(Integers{})};
  on.query_sums = integers_of(sparsity.query_sums);
  on.key_sums = integers_of(sparsity.key_sums);
  on.softmax_layout = std::string(numbers.softmax_layout);
  return on;
}

struct VersionTwo {
  const MaybeTensor& query_rope;
  const MaybeTensor& key_rope;
  std::int64_t pse_type;
  const at::OptionalIntArrayRef& query_start;
  const at::OptionalIntArrayRef& key_start;
};

std::int64_t start_of(const Fusion& on, const char* name, const at::OptionalIntArrayRef& start) {
  if (!start.has_value() || start->empty()) return 0;
  TORCH_CHECK_VALUE(start->size() == 1, on.op, ": expected ", name, " of one number, got ", *start);
  return start->front();
}

void add_version_two(Fusion& on, const VersionTwo& more) {
  on.query_rope = tensor_of(more.query_rope);
  on.key_rope = tensor_of(more.key_rope);
  on.bias.type = more.pse_type;
  on.bias.query_start = start_of(on, "q_start_idx", more.query_start);
  on.bias.key_start = start_of(on, "kv_start_idx", more.key_start);
}

// --- compute
// A seed from the card's generator, which the route lends to the CPU's.
std::int64_t drawn_seed() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  auto* const host = at::check_generator<at::CPUGeneratorImpl>(generator);
  return static_cast<std::int64_t>(host->random64() >> 1);
}

using Forward = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, std::int64_t,
                           std::int64_t, std::int64_t>;

Forward run_forward(Fusion& on) {
  check(on);
  const bool meta = on.query.is_meta();
  if (on.drops() && !on.dropout_mask.defined() && on.seed == 0 && !meta) on.seed = drawn_seed();
  const FusionForward result = fusion_forward(on);
  const std::int64_t scores = meta ? 0 : FusionSequences(on).scores();
  return {result.out,
          result.statistics.greatest,
          result.statistics.sum,
          at::empty({0}, on.query.options()),
          on.seed,
          on.offset,
          scores};
}

Forward fusion_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         std::int64_t head_num, c10::string_view input_layout,
                         const MaybeTensor& pse, const MaybeTensor& padding_mask,
                         const MaybeTensor& atten_mask, double scale, double keep_prob,
                         std::int64_t pre_tockens, std::int64_t next_tockens,
                         std::int64_t /*inner_precise*/, at::OptionalIntArrayRef prefix,
                         at::OptionalIntArrayRef actual_seq_qlen,
                         at::OptionalIntArrayRef actual_seq_kvlen, std::int64_t sparse_mode,
                         bool /*gen_mask_parallel*/, bool /*sync*/, c10::string_view softmax_layout,
                         const MaybeTensor& sink, const MaybeTensor& dropout_mask,
                         std::int64_t seed, std::int64_t offset) {
  Fusion on =
      fusion_of("npu_fusion_attention", {query, key, value}, {pse, padding_mask, atten_mask, sink},
                {sparse_mode, pre_tockens, next_tockens, prefix, actual_seq_qlen, actual_seq_kvlen},
                {head_num, input_layout, softmax_layout, scale, keep_prob, seed, offset});
  on.dropout_mask = tensor_of(dropout_mask);
  return run_forward(on);
}

Forward fusion_attention_v2(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, std::int64_t head_num,
    c10::string_view input_layout, const MaybeTensor& pse, const MaybeTensor& padding_mask,
    const MaybeTensor& atten_mask, const MaybeTensor& query_rope, const MaybeTensor& key_rope,
    double scale, double keep_prob, std::int64_t pre_tokens, std::int64_t next_tokens,
    std::int64_t /*inner_precise*/, at::OptionalIntArrayRef prefix,
    at::OptionalIntArrayRef actual_seq_qlen, at::OptionalIntArrayRef actual_seq_kvlen,
    std::int64_t sparse_mode, bool /*gen_mask_parallel*/, bool /*sync*/, std::int64_t pse_type,
    at::OptionalIntArrayRef q_start_idx, at::OptionalIntArrayRef kv_start_idx,
    c10::string_view softmax_layout, const MaybeTensor& sink, const MaybeTensor& dropout_mask,
    std::int64_t seed, std::int64_t offset) {
  Fusion on = fusion_of(
      "npu_fusion_attention_v2", {query, key, value}, {pse, padding_mask, atten_mask, sink},
      {sparse_mode, pre_tokens, next_tokens, prefix, actual_seq_qlen, actual_seq_kvlen},
      {head_num, input_layout, softmax_layout, scale, keep_prob, seed, offset});
  add_version_two(on, {query_rope, key_rope, pse_type, q_start_idx, kv_start_idx});
  on.dropout_mask = tensor_of(dropout_mask);
  return run_forward(on);
}

// --- gradient
FusionResults results_of(const at::Tensor& dy, const MaybeTensor& attention_in,
                         const MaybeTensor& softmax_max, const MaybeTensor& softmax_sum) {
  return {.grad = dy,
          .out = tensor_of(attention_in),
          .statistics = {tensor_of(softmax_max), tensor_of(softmax_sum)}};
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Five fusion_attention_grad(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& dy, std::int64_t head_num,
                           c10::string_view input_layout, const MaybeTensor& pse,
                           const MaybeTensor& padding_mask, const MaybeTensor& atten_mask,
                           const MaybeTensor& softmax_max, const MaybeTensor& softmax_sum,
                           const MaybeTensor& /*softmax_in*/, const MaybeTensor& attention_in,
                           double scale_value, double keep_prob, std::int64_t pre_tockens,
                           std::int64_t next_tockens, std::int64_t /*inner_precise*/,
                           std::int64_t seed, std::int64_t offset, std::int64_t /*numels*/,
                           at::OptionalIntArrayRef prefix, at::OptionalIntArrayRef actual_seq_qlen,
                           at::OptionalIntArrayRef actual_seq_kvlen, std::int64_t sparse_mode,
                           bool /*gen_mask_parallel*/, bool /*sync*/,
                           c10::string_view softmax_layout, const MaybeTensor& sink) {
  Fusion on = fusion_of(
      "npu_fusion_attention_grad", {query, key, value}, {pse, padding_mask, atten_mask, sink},
      {sparse_mode, pre_tockens, next_tockens, prefix, actual_seq_qlen, actual_seq_kvlen},
      {head_num, input_layout, softmax_layout, scale_value, keep_prob, seed, offset});
  check(on);
  const FusionGradients found =
      fusion_backward(on, results_of(dy, attention_in, softmax_max, softmax_sum));
  return {found.query, found.key, found.value, found.bias, found.sink};
}

using Seven =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Seven fusion_attention_grad_v2(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& dy,
    std::int64_t head_num, c10::string_view input_layout, const MaybeTensor& pse,
    const MaybeTensor& padding_mask, const MaybeTensor& atten_mask, const MaybeTensor& softmax_max,
    const MaybeTensor& softmax_sum, const MaybeTensor& /*softmax_in*/,
    const MaybeTensor& attention_in, const MaybeTensor& query_rope, const MaybeTensor& key_rope,
    double scale_value, double keep_prob, std::int64_t pre_tokens, std::int64_t next_tokens,
    std::int64_t /*inner_precise*/, std::int64_t seed, std::int64_t offset, std::int64_t /*numels*/,
    at::OptionalIntArrayRef prefix, at::OptionalIntArrayRef actual_seq_qlen,
    at::OptionalIntArrayRef actual_seq_kvlen, std::int64_t sparse_mode, bool /*gen_mask_parallel*/,
    bool /*sync*/, std::int64_t pse_type, at::OptionalIntArrayRef q_start_idx,
    at::OptionalIntArrayRef kv_start_idx, c10::string_view softmax_layout,
    const MaybeTensor& sink) {
  Fusion on = fusion_of(
      "npu_fusion_attention_grad_v2", {query, key, value}, {pse, padding_mask, atten_mask, sink},
      {sparse_mode, pre_tokens, next_tokens, prefix, actual_seq_qlen, actual_seq_kvlen},
      {head_num, input_layout, softmax_layout, scale_value, keep_prob, seed, offset});
  add_version_two(on, {query_rope, key_rope, pse_type, q_start_idx, kv_start_idx});
  check(on);
  const FusionGradients found =
      fusion_backward(on, results_of(dy, attention_in, softmax_max, softmax_sum));
  return {found.query,      found.key,      found.value, found.bias,
          found.query_rope, found.key_rope, found.sink};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&fusion_attention>(m, "npu_fusion_attention");
  composed_kernel<&fusion_attention_v2>(m, "npu_fusion_attention_v2");
  composed_kernel<&fusion_attention_grad>(m, "npu_fusion_attention_grad");
  composed_kernel<&fusion_attention_grad_v2>(m, "npu_fusion_attention_grad_v2");
  derivative(m, "npu_fusion_attention",
             "query, key, value, pse, sink: npu_fusion_attention_grad(query, key, value, grad, "
             "head_num, input_layout, pse, padding_mask, atten_mask, result1, result2, result3, "
             "result0, scale, keep_prob, pre_tockens, next_tockens, inner_precise, result4, "
             "result5, result6, prefix, actual_seq_qlen, actual_seq_kvlen, sparse_mode, "
             "gen_mask_parallel, sync, softmax_layout, sink)");
  derivative(m, "npu_fusion_attention_v2",
             "query, key, value, pse, query_rope, key_rope, sink: "
             "npu_fusion_attention_grad_v2(query, key, value, grad, head_num, input_layout, pse, "
             "padding_mask, atten_mask, result1, result2, result3, result0, query_rope, key_rope, "
             "scale, keep_prob, pre_tokens, next_tokens, inner_precise, result4, result5, result6, "
             "prefix, actual_seq_qlen, actual_seq_kvlen, sparse_mode, gen_mask_parallel, sync, "
             "pse_type, q_start_idx, kv_start_idx, softmax_layout, sink)");
}

}  // namespace
}  // namespace npu_sim::ops
