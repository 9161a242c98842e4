// npu_fused_infer_attention_score and _v2: attention for prompts and for decoding, with what they
// need for graphs: out variants, their results' shapes, the size of a workspace.
//
// Source: op-plugin@517f2e7d (schemas, docs, FusedInferAttentionScore*KernelNpuOpApi.cpp).
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/attention/boxed_kernel.h"
#include "ops/attention/infer_arguments.h"
#include "ops/attention/infer_call.h"
#include "ops/attention/infer_work.h"

namespace npu_sim::ops {
namespace {

// --- work
model::Work first_work(const aten::Call& call) {
  return infer_work(call, {.query_lengths = 5,
                           .key_lengths = 6,
                           .block_table = 18,
                           .query_rope = 24,
                           .key_prefix = 21,
                           .bias = 3,
                           .mask = 4,
                           .heads = 27,
                           .kv_heads = 32,
                           .layout = 31,
                           .sparse_mode = 33,
                           .pre_tokens = 29});
}
model::Work second_work(const aten::Call& call) {
  return infer_work(call, {.query_lengths = 7,
                           .key_lengths = 8,
                           .block_table = 9,
                           .query_rope = 3,
                           .bias = 5,
                           .mask = 6,
                           .heads = 20,
                           .kv_heads = 21,
                           .layout = 25,
                           .sparse_mode = 26,
                           .pre_tokens = 23,
                           .query_dtype = 33});
}
// Allocations and questions to the host.
model::Work no_work(const aten::Call&) { return model::NoWork{}; }
constexpr aten::Entry kEntries[] = {
    {"npu_fused_infer_attention_score", first_work},
    {"npu_fused_infer_attention_score_v2", second_work},
    {"_npu_fused_infer_attention_score_get_max_workspace", no_work},
    {"_npu_fused_infer_attention_score_v2_get_max_workspace", no_work},
    {"_npu_fused_infer_attention_score_infer_output", no_work},
    {"_npu_fused_infer_attention_score_v2_infer_output", no_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr InferNames kFirst{.op = "npu_fused_infer_attention_score"};
constexpr InferNames kSecond{.op = "npu_fused_infer_attention_score_v2",
                             .heads = "num_query_heads",
                             .query_lengths = "actual_seq_qlen",
                             .key_lengths = "actual_seq_kvlen",
                             .key_scale = "dequant_scale_key",
                             .key_offset = "dequant_offset_key",
                             .key_mode = "key_quant_mode",
                             .value_scale = "dequant_scale_value",
                             .value_offset = "dequant_offset_value",
                             .value_mode = "value_quant_mode",
                             .out_scale = "quant_scale_out",
                             .out_offset = "quant_offset_out"};

// Writes what was computed into the tensors that the caller gave.
void write_into(const InferCall& call, const std::vector<at::Tensor>& out,
                const InferResult& result) {
  TORCH_CHECK_VALUE(out.size() == 2, call.names->op,
                    ": expected out of [attention_out, softmax_lse], got ", out.size(), " tensors");
  TORCH_CHECK_VALUE(out[0].sizes() == result.out.sizes(), call.names->op, ": expected out[0] of ",
                    result.out.sizes(), ", got ", out[0].sizes());
  TORCH_CHECK_TYPE(out[0].scalar_type() == result.out.scalar_type(), call.names->op,
                   ": expected out[0] of ", result.out.scalar_type(), ", got ",
                   out[0].scalar_type());
  TORCH_CHECK_VALUE(!call.wants_lse || out[1].sizes() == result.lse.sizes(), call.names->op,
                    ": expected out[1] of ", result.lse.sizes(), ", got ", out[1].sizes());
  if (out[0].is_meta()) return;
  out[0].copy_(result.out);
  if (call.wants_lse) out[1].copy_(result.lse);
}

// What the card asks for: its own share, and partial results of one query whose keys cores split
// among them.
at::Tensor workspace_for(const InferCall& call) {
  constexpr std::int64_t kSystemBytes = std::int64_t{16} << 20;  // assumed: what AscendC reserves
  constexpr std::int64_t kPartials = 32;  // assumed: one for each pair of cores
  const InferFormats formats = infer_formats(call);
  const InferSizes sizes = infer_sizes(call, formats);
  const std::int64_t rows = sizes.batch * sizes.heads * (sizes.queries == 1 ? kPartials : 0);
  const std::int64_t partial_bytes =
      rows * (sizes.value_width + 2) * static_cast<std::int64_t>(sizeof(float));
  return at::empty({kSystemBytes + partial_bytes}, call.query.options());
}

using torch::jit::Stack;

InferCall call_on(const InferNames& names, const c10::OperatorHandle& op, const Stack& stack) {
  return infer_call(names, {op.schema(), arguments_on(op, stack)});
}

template <const InferNames& names>
void attention(const c10::OperatorHandle& op, Stack* stack) {
  const InferResult result = infer_attention(call_on(names, op, *stack));
  answer(op, stack, {result.out, result.lse});
}

template <const InferNames& names>
void attention_out(const c10::OperatorHandle& op, Stack* stack) {
  const InferCall call = call_on(names, op, *stack);
  const std::vector<at::Tensor> out = stack->back().toTensorVector();
  write_into(call, out, infer_attention(call));
  answer(op, stack, {out[0], out[1]});
}

template <const InferNames& names>
void workspace(const c10::OperatorHandle& op, Stack* stack) {
  answer(op, stack, {workspace_for(call_on(names, op, *stack))});
}

template <const InferNames& names>
void output(const c10::OperatorHandle& op, Stack* stack) {
  const InferCall call = call_on(names, op, *stack);
  const InferFormats formats = infer_formats(call);
  const InferResult result = infer_results(call, infer_output_sizes(call, formats), formats);
  answer(op, stack, {result.out, result.lse});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  boxed_kernel<&attention<kFirst>>(m, "npu_fused_infer_attention_score");
  boxed_kernel<&attention_out<kFirst>>(m, "npu_fused_infer_attention_score.out");
  boxed_kernel<&workspace<kFirst>>(m, "_npu_fused_infer_attention_score_get_max_workspace");
  boxed_kernel<&output<kFirst>>(m, "_npu_fused_infer_attention_score_infer_output");
  boxed_kernel<&attention<kSecond>>(m, "npu_fused_infer_attention_score_v2");
  boxed_kernel<&attention_out<kSecond>>(m, "npu_fused_infer_attention_score_v2.out");
  boxed_kernel<&workspace<kSecond>>(m, "_npu_fused_infer_attention_score_v2_get_max_workspace");
  boxed_kernel<&output<kSecond>>(m, "_npu_fused_infer_attention_score_v2_infer_output");
}

}  // namespace
}  // namespace npu_sim::ops
