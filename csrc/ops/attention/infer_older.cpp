// npu_prompt_flash_attention and npu_incre_flash_attention: attention for prompts and for decoding,
// of the cards before the Ascend 950.
//
// Source: op-plugin@517f2e7d, FlashAttentionKernelNpuOpApi.cpp, which refuses both on an Ascend
// 950.
#include "aten/describe/registry.h"
#include "ops/attention/boxed_kernel.h"
#include "ops/attention/card_lacks.h"
#include "ops/attention/infer_arguments.h"
#include "ops/attention/infer_call.h"
#include "ops/attention/infer_work.h"

namespace npu_sim::ops {
namespace {

// --- work
model::Work prompt_work(const aten::Call& call) {
  return infer_work(call, {.query_lengths = 6,
                           .key_lengths = 18,
                           .bias = 5,
                           .mask = 4,
                           .heads = 12,
                           .kv_heads = 17,
                           .layout = 16,
                           .sparse_mode = 19,
                           .pre_tokens = 14});
}
model::Work incremental_work(const aten::Call& call) {
  return infer_work(call, {.key_lengths = 6,
                           .block_table = 9,
                           .bias = 5,
                           .mask = 4,
                           .heads = 16,
                           .kv_heads = 19,
                           .layout = 18});
}
constexpr aten::Entry kEntries[] = {
    {"npu_prompt_flash_attention", prompt_work},
    {"npu_incre_flash_attention", incremental_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr InferNames kPrompt{.op = "npu_prompt_flash_attention",
                             .product_scale = "deq_scale1",
                             .result_scale = "deq_scale2"};
constexpr InferNames kIncremental{.op = "npu_incre_flash_attention",
                                  .key_lengths = "actual_seq_lengths"};

using torch::jit::Stack;

InferCall call_on(const InferNames& names, const c10::OperatorHandle& op, const Stack& stack) {
  refuse_on_950(names.op, "npu_fused_infer_attention_score");
  return infer_call(names, {op.schema(), arguments_on(op, stack)});
}

// sparse_mode 10 to 14 asks for 0 to 4 in higher precision.
void prompt(const c10::OperatorHandle& op, Stack* stack) {
  constexpr std::int64_t kPrecise = 10;
  InferCall call = call_on(kPrompt, op, *stack);
  if (call.masking.sparse_mode >= kPrecise) call.masking.sparse_mode -= kPrecise;
  answer(op, stack, {infer_attention(call).out});
}

// Lengths are those of keys.
void incremental(const c10::OperatorHandle& op, Stack* stack) {
  InferCall call = call_on(kIncremental, op, *stack);
  std::swap(call.key_lengths, call.query_lengths);
  call.query_lengths = std::nullopt;
  answer(op, stack, {infer_attention(call).out});
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  boxed_kernel<&prompt>(m, "npu_prompt_flash_attention");
  boxed_kernel<&incremental>(m, "npu_incre_flash_attention");
}

}  // namespace
}  // namespace npu_sim::ops
