// npu_advance_step_flashattn: moves the decoding state of every request on by a token, in place,
// with or without tokens proposed ahead; and npu_prefetch, which brings weights into L2.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"

namespace npu_sim::ops {
namespace {

using Optional = std::optional<at::Tensor>;

bool given(const Optional& tensor) { return tensor.has_value() && tensor->defined(); }

// --- work
// Small integer tensors, read and written; a block's number is looked up for every token.
model::Work advance_work(const aten::Call& call) {
  base::Bytes state{};
  for (const std::size_t index : {0U, 2U, 3U, 4U}) {
    state += aten::bytes_of(aten::tensor_at(call, index));
  }
  const at::Tensor& tokens = aten::tensor_at(call, 0);
  const at::Tensor& blocks = aten::tensor_at(call, 5);
  base::Bytes read = state + aten::bytes_of(aten::tensor_at(call, 1)) +
                     base::Bytes(tokens.numel() * static_cast<std::int64_t>(blocks.element_size()));
  for (const std::size_t index : {9U, 10U}) read += aten::bytes_of(aten::tensor_at(call, index));
  return model::VectorWork{.elements = tokens.numel(),
                           .read = read,
                           .written = state,
                           .compute = base::Format::kInt64,
                           .linear_ops = 8};
}

// At most `max_size` bytes from `offset` on go to the chip; nothing is written back.
model::Work prefetch_work(const aten::Call& call) {
  const at::Tensor& input = aten::tensor_at(call, 0);
  const std::int64_t all = input.numel() * static_cast<std::int64_t>(input.element_size());
  const base::Bytes bytes(
      std::min(aten::integer_at(call, 2, all), all - aten::integer_at(call, 3, 0)));
  return model::CopyWork{.read = bytes, .run = bytes, .target = model::CopyTarget::kUb};
}
constexpr aten::Entry kEntries[] = {
    {"npu_advance_step_flashattn", advance_work},
    {"npu_prefetch", prefetch_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kAdvance = "npu_advance_step_flashattn";

// The tensors that move on; each has one element a token.
struct State {
  at::Tensor& tokens;
  at::Tensor& positions;
  at::Tensor& lengths;
  at::Tensor& slots;
};

void check_state(const State& state, std::int64_t tokens) {
  for (const at::Tensor* const tensor :
       {&state.tokens, &state.positions, &state.lengths, &state.slots}) {
    TORCH_CHECK_TYPE(tensor->scalar_type() == at::kLong || tensor->scalar_type() == at::kInt,
                     kAdvance, ": expected input_tokens, input_positions, seq_lens and ",
                     "slot_mapping of int64, got ", tensor->scalar_type());
    TORCH_CHECK_VALUE(tensor->dim() == 1 && tensor->size(0) == tokens, kAdvance,
                      ": expected input_tokens, input_positions, seq_lens and slot_mapping [",
                      tokens, "], got ", tensor->sizes());
  }
}

// --- compute
// Where the tokens at `positions` of requests `rows` lie in the paged cache.
at::Tensor slots_of(const at::Tensor& blocks, const at::Tensor& rows, const at::Tensor& positions,
                    std::int64_t block_size) {
  const at::Tensor page = positions.floor_divide(block_size);
  if (page.numel() > 0) {
    TORCH_CHECK_INDEX(
        page.min().item<std::int64_t>() >= 0 && page.max().item<std::int64_t>() < blocks.size(1),
        kAdvance, ": expected positions within the ", blocks.size(1),
        " blocks of block_tables, got one in block ", page.max().item<std::int64_t>());
  }
  const at::Tensor number =
      blocks.to(at::kLong).flatten().index_select(0, rows * blocks.size(1) + page);
  return number * block_size + positions.remainder(block_size);
}

// One token a request: the sampled one. Requests past `queries` are padding.
void advance_one(const State& state, const at::Tensor& sampled, const at::Tensor& blocks,
                 std::int64_t queries, std::int64_t block_size) {
  const std::int64_t all = state.tokens.size(0);
  TORCH_CHECK_VALUE(queries <= all && sampled.numel() == queries, kAdvance,
                    ": expected sampled_token_ids [num_queries, 1] with num_queries = ", queries,
                    " up to num_seqs = ", all, ", got ", sampled.sizes());
  const at::Tensor positions = state.lengths.slice(0, 0, queries).to(at::kLong);
  const at::Tensor rows = at::arange(queries, positions.options());
  const at::Tensor slots = slots_of(blocks, rows, positions, block_size);
  state.tokens.slice(0, 0, queries).copy_(sampled.flatten());
  state.positions.slice(0, 0, queries).copy_(positions);
  state.lengths.slice(0, 0, queries).add_(1);
  state.slots.slice(0, 0, queries).copy_(slots);
  state.tokens.slice(0, queries, all).zero_();
  state.positions.slice(0, queries, all).zero_();
  state.slots.slice(0, queries, all).fill_(-1);
}

// Some tokens a request: the last one that was accepted (before the first -1), then proposed ones.
void advance_many(const State& state, const at::Tensor& sampled, const at::Tensor& blocks,
                  const at::Tensor& proposed, const at::Tensor& accepted, std::int64_t block_size) {
  const std::int64_t requests = proposed.size(0);
  const std::int64_t each = 1 + proposed.size(1);
  TORCH_CHECK_VALUE(sampled.dim() == 2 && sampled.size(0) == requests && sampled.size(1) >= 1,
                    kAdvance, ": expected sampled_token_ids [", requests, ", tokens], got ",
                    sampled.sizes());
  TORCH_CHECK_VALUE(accepted.dim() == 1 && accepted.size(0) == requests, kAdvance,
                    ": expected accepted_num [", requests, "], got ", accepted.sizes());
  const at::Tensor valid = sampled.ge(0).to(at::kLong).cumprod(1).sum(1);
  TORCH_CHECK_VALUE(valid.numel() == 0 || valid.min().item<std::int64_t>() >= 1, kAdvance,
                    ": expected a token of every request in sampled_token_ids, got -1 first");
  const at::Tensor rows = at::arange(requests, valid.options());
  const at::Tensor every = rows.repeat_interleave(each);
  const at::Tensor positions = state.positions + accepted.to(at::kLong).index_select(0, every) + 1;
  const at::Tensor slots = slots_of(blocks, every, positions, block_size);
  state.positions.copy_(positions);
  state.lengths.copy_(positions + 1);
  state.slots.copy_(slots);
  const at::Tensor tokens = state.tokens.view({requests, each});
  tokens.select(1, 0).copy_(sampled.gather(1, (valid - 1).unsqueeze(1)).squeeze(1));
  tokens.slice(1, 1).copy_(proposed);
}

void advance_step(at::Tensor& tokens, const at::Tensor& sampled, at::Tensor& positions,
                  at::Tensor& lengths, at::Tensor& slots, const at::Tensor& blocks,
                  std::int64_t sequences, std::int64_t queries, std::int64_t block_size,
                  const Optional& proposed, const Optional& accepted) {
  const State state{.tokens = tokens, .positions = positions, .lengths = lengths, .slots = slots};
  TORCH_CHECK_VALUE(sequences > 0 && queries > 0 && block_size > 0, kAdvance,
                    ": expected positive num_seqs, num_queries and block_size, got ", sequences,
                    ", ", queries, " and ", block_size);
  TORCH_CHECK_VALUE(given(proposed) == given(accepted), kAdvance,
                    ": expected spec_token and accepted_num together, got one of them");
  TORCH_CHECK_VALUE(!given(proposed) || (proposed->dim() == 2 && proposed->size(0) == sequences),
                    kAdvance, ": expected spec_token [num_seqs, tokens]");
  TORCH_CHECK_VALUE(blocks.dim() == 2 && blocks.size(0) == sequences, kAdvance,
                    ": expected block_tables [", sequences, ", blocks], got ", blocks.sizes());
  check_state(state, given(proposed) ? sequences * (1 + proposed->size(1)) : sequences);
  if (tokens.is_meta()) return;
  if (given(proposed)) {
    advance_many(state, sampled, blocks, *proposed, *accepted, block_size);
  } else {
    advance_one(state, sampled, blocks, queries, block_size);
  }
}

void prefetch(const at::Tensor& input, const Optional& /*dependency: the stream's order*/,
              std::int64_t max_size, std::int64_t offset) {
  constexpr const char* kOp = "npu_prefetch";
  const std::int64_t bytes = input.numel() * static_cast<std::int64_t>(input.element_size());
  TORCH_CHECK_VALUE(max_size > 0, kOp, ": expected a positive max_size, got ", max_size);
  TORCH_CHECK_VALUE(offset >= 0 && offset < bytes, kOp, ": expected offset in [0, ", bytes,
                    "), the bytes of input, got ", offset);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&advance_step>(m, "npu_advance_step_flashattn");
  composed_kernel<&prefetch>(m, "npu_prefetch");
}

}  // namespace
}  // namespace npu_sim::ops
