// npu_advance_step_flashattn: inputs of the next decoding step, in place.
//
// The slot is computed as the card's kernel does: the block that the FIRST row of block_tables has
// for the new position, moved by the row's stride times the query's number. It is the slot that
// vLLM means where row q of the tables is the first row plus q strides. Of padding sequences the
// kernel's one core resets every n-th, n being the cores. With spec_token and accepted_num each
// request has 1 + spec_num tokens, and tables are looked up by request.
// Source: op-plugin@517f2e7d, docs and golden of test_npu_advance_step_flashattn.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "runtime/device.h"

namespace npu_sim::ops {
namespace {

// --- work: a few numbers a query, read one by one.
model::Work work(const aten::Call& call) {
  const std::int64_t tokens = aten::elements_of(call.argument(0));
  constexpr std::int64_t kItem = 8;  // bytes of an int64
  const base::Bytes read(5 * tokens * kItem);
  return model::GatherWork{.items = tokens,
                           .item = base::Bytes(kItem),
                           .index = base::Bytes(tokens * kItem),
                           .written = base::Bytes(4 * tokens * kItem),
                           .read = read,
                           .one_by_one = true};
}
constexpr aten::Entry kEntries[] = {{"npu_advance_step_flashattn", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kOp = "npu_advance_step_flashattn";

struct Step {
  at::Tensor& input_tokens;
  const at::Tensor& sampled;
  at::Tensor& positions;
  at::Tensor& seq_lens;
  at::Tensor& slots;
  const at::Tensor& tables;
  std::int64_t sequences;
  std::int64_t queries;
  std::int64_t block_size;
};

void check(const Step& step, std::int64_t tokens_each) {
  TORCH_CHECK_VALUE(step.block_size > 0 && step.sequences >= 0 && step.queries >= 0 &&
                        step.queries <= step.sequences,
                    kOp, ": expected a positive block_size and num_queries up to num_seqs, got ",
                    step.block_size, ", ", step.queries, " and ", step.sequences);
  for (const at::Tensor* const x : {static_cast<const at::Tensor*>(&step.input_tokens),
                                    static_cast<const at::Tensor*>(&step.positions),
                                    static_cast<const at::Tensor*>(&step.seq_lens),
                                    static_cast<const at::Tensor*>(&step.slots)}) {
    TORCH_CHECK_VALUE(x->dim() == 1 && x->size(0) == step.sequences * tokens_each, kOp,
                      ": expected input_tokens, input_positions, seq_lens and slot_mapping of [",
                      step.sequences * tokens_each, "], got ", x->sizes());
  }
  for (const at::Tensor* const x : {static_cast<const at::Tensor*>(&step.input_tokens),
                                    &step.sampled, static_cast<const at::Tensor*>(&step.positions),
                                    static_cast<const at::Tensor*>(&step.seq_lens),
                                    static_cast<const at::Tensor*>(&step.slots), &step.tables}) {
    TORCH_CHECK_TYPE(x->scalar_type() == at::kLong, kOp, ": expected tensors of int64, got ",
                     x->scalar_type());
  }
  TORCH_CHECK_VALUE(step.tables.dim() == 2 && step.tables.size(0) == step.sequences, kOp,
                    ": expected block_tables of [", step.sequences, ", blocks], got ",
                    step.tables.sizes());
}

// --- compute
std::int64_t table_entry(const Integers& tables, std::int64_t at) {
  TORCH_CHECK_INDEX(at >= 0 && at < std::ssize(tables), kOp,
                    ": expected block_tables with an entry ", at, ", got ", tables.size());
  return tables[static_cast<std::size_t>(at)];
}

void advance(const Step& step) {
  check(step, 1);
  TORCH_CHECK_VALUE(step.sampled.numel() >= step.queries, kOp, ": expected sampled_token_ids of [",
                    step.queries, ", 1], got ", step.sampled.sizes());
  if (step.tables.is_meta()) return;
  const Integers tables = integers_of({.op = kOp, .argument = "block_tables"}, step.tables);
  const Integers sampled = integers_of({.op = kOp, .argument = "sampled_token_ids"}, step.sampled);
  Integers lens = integers_of({.op = kOp, .argument = "seq_lens"}, step.seq_lens);
  Integers tokens = integers_of({.op = kOp, .argument = "input_tokens"}, step.input_tokens);
  Integers positions = integers_of({.op = kOp, .argument = "input_positions"}, step.positions);
  Integers slots = integers_of({.op = kOp, .argument = "slot_mapping"}, step.slots);
  for (std::int64_t i = step.queries; i < step.sequences; i += runtime::chip().vector_cores) {
    const auto at = static_cast<std::size_t>(i);
    tokens[at] = 0;
    positions[at] = 0;
    slots[at] = -1;
  }
  for (std::size_t q = 0; q < static_cast<std::size_t>(step.queries); ++q) {
    tokens[q] = sampled[q];
    positions[q] = lens[q]++;
    const std::int64_t block = table_entry(tables, positions[q] / step.block_size);
    slots[q] = (block + step.tables.stride(0) * static_cast<std::int64_t>(q)) * step.block_size +
               positions[q] % step.block_size;
  }
  const auto store = [](at::Tensor& to, const Integers& values) {
    to.copy_(at::tensor(values, at::kLong));
  };
  store(step.input_tokens, tokens);
  store(step.positions, positions);
  store(step.seq_lens, lens);
  store(step.slots, slots);
}

// The last token of a request before the first smallest one: -1 marks those that were rejected.
std::int64_t last_token(const Integers& sampled, std::int64_t request, std::int64_t columns) {
  const auto first = sampled.begin() + request * columns;
  std::int64_t smallest = columns;  // a -1 follows each row
  for (std::int64_t i = columns - 1; i >= 0; --i) {
    const std::int64_t other = smallest == columns ? -1 : first[smallest];
    if (first[i] <= other) smallest = i;
  }
  const std::int64_t index = smallest - 1;
  return first[index < 0 ? columns - 1 : index];
}

void advance_speculated(const Step& step, const at::Tensor& spec_token,
                        const at::Tensor& accepted_num) {
  TORCH_CHECK_VALUE(spec_token.dim() == 2 && spec_token.size(0) == step.sequences, kOp,
                    ": expected spec_token of [", step.sequences, ", tokens], got ",
                    spec_token.sizes());
  const std::int64_t each = 1 + spec_token.size(1);
  check(step, each);
  TORCH_CHECK_VALUE(
      step.sampled.dim() == 2 && step.sampled.size(0) == step.sequences && step.sampled.size(1) > 0,
      kOp, ": expected sampled_token_ids of [", step.sequences, ", ", each, "], got ",
      step.sampled.sizes());
  TORCH_CHECK_VALUE(accepted_num.numel() == step.sequences, kOp, ": expected accepted_num of [",
                    step.sequences, "], got ", accepted_num.sizes());
  if (step.tables.is_meta()) return;
  const Integers tables = integers_of({.op = kOp, .argument = "block_tables"}, step.tables);
  const Integers sampled = integers_of({.op = kOp, .argument = "sampled_token_ids"}, step.sampled);
  const Integers accepted = integers_of({.op = kOp, .argument = "accepted_num"}, accepted_num);
  const Integers speculated = integers_of({.op = kOp, .argument = "spec_token"}, spec_token);
  Integers positions = integers_of({.op = kOp, .argument = "input_positions"}, step.positions);
  Integers tokens(positions.size());
  Integers slots(positions.size());
  for (std::int64_t i = 0; i < std::ssize(positions); ++i) {
    const std::int64_t request = i / each;
    const auto at = static_cast<std::size_t>(i);
    positions[at] += accepted[static_cast<std::size_t>(request)] + 1;
    tokens[at] = i % each == 0
                     ? last_token(sampled, request, step.sampled.size(1))
                     : speculated[static_cast<std::size_t>(request * (each - 1) + i % each - 1)];
    const std::int64_t block =
        table_entry(tables, request * step.tables.size(1) + positions[at] / step.block_size);
    slots[at] = block * step.block_size + positions[at] % step.block_size;
  }
  step.input_tokens.copy_(at::tensor(tokens, at::kLong));
  step.positions.copy_(at::tensor(positions, at::kLong));
  step.seq_lens.copy_(at::tensor(positions, at::kLong) + 1);
  step.slots.copy_(at::tensor(slots, at::kLong));
}

void advance_step(at::Tensor& input_tokens, const at::Tensor& sampled_token_ids,
                  at::Tensor& input_positions, at::Tensor& seq_lens, at::Tensor& slot_mapping,
                  const at::Tensor& block_tables, std::int64_t num_seqs, std::int64_t num_queries,
                  std::int64_t block_size, const MaybeTensor& spec_token,
                  const MaybeTensor& accepted_num) {
  const Step step{input_tokens, sampled_token_ids, input_positions, seq_lens,  slot_mapping,
                  block_tables, num_seqs,          num_queries,     block_size};
  const bool speculates = given(spec_token);
  const bool counts = given(accepted_num);
  TORCH_CHECK_VALUE(speculates == counts, kOp,
                    ": expected spec_token and accepted_num together, got one of them");
  if (speculates) {
    advance_speculated(step, *spec_token, *accepted_num);
  } else {
    advance(step);
  }
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&advance_step>(m, "npu_advance_step_flashattn"); }

}  // namespace
}  // namespace npu_sim::ops
