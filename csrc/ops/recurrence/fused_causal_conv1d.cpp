// npu_fused_causal_conv1d: each channel by its own taps along sequences that continue from a cache
// of their last tokens, which moves on with them; with a paged cache whose full pages keep their
// own last tokens (prefix caching), with tokens taken back (speculation), and with a residual.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <string>
#include <vector>

#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/integers.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the tokens, and the lines of the cache that the sequences read and write; a
// multiply-add a tap, with its load, and the residual.
model::Work conv_work(const aten::Call& call) {
  const at::Tensor& x = aten::tensor_at(call, 0);
  const at::Tensor& weight = aten::tensor_at(call, 1);
  const at::Tensor& states = aten::tensor_at(call, 2);
  const at::Tensor& starts = aten::tensor_at(call, 3);
  const std::int64_t sequences = starts.defined() ? starts.numel() - 1 : aten::size_along(x, 0);
  const std::int64_t line = aten::ratio(states.numel(), aten::size_along(states, 0));
  const base::Bytes lines(line * sequences * static_cast<std::int64_t>(states.element_size()));
  return model::VectorWork{.elements = x.numel(),
                           .read = aten::bytes_of(x) + aten::bytes_of(weight) + lines,
                           .written = aten::bytes_of(x) + lines,
                           .compute = aten::format_of(x),
                           .linear_ops = aten::instructions(2 * aten::size_along(weight, 0) + 3)};
}
constexpr aten::Entry kEntries[] = {
    {"npu_fused_causal_conv1d", conv_work},
    {"npu_fused_causal_conv1d_v2", conv_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
// The call as given; what it does not name here has no effect on the card.
struct Arguments {
  const char* op;
  const at::Tensor& weight;              // [taps, channels]
  at::Tensor& states;                    // [lines, length, channels]
  const MaybeTensor& query_start_loc;    // [sequences + 1]
  const MaybeTensor& cache_indices;      // [sequences], or [sequences, pages]
  const MaybeTensor& accepted;           // [sequences]
  const MaybeTensor& computed;           // [sequences]
  const MaybeTensor& first_block;        // [sequences], of prefix caching
  const MaybeTensor& last_block;         // likewise
  const MaybeTensor& initial_state_idx;  // likewise
  std::int64_t pad_slot_id;
  bool residual;
  std::int64_t block_size;
  bool pangu;

  [[nodiscard]] bool pages() const { return given(last_block); }
};

void check_shapes(const Arguments& in, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.is_floating_point() && in.weight.scalar_type() == x.scalar_type() &&
                       in.states.scalar_type() == x.scalar_type(),
                   in.op, ": expected x, weight and conv_states of one floating dtype, got ",
                   x.scalar_type(), ", ", in.weight.scalar_type(), " and ",
                   in.states.scalar_type());
  TORCH_CHECK_VALUE(
      (x.dim() == 2 && given(in.query_start_loc)) || x.dim() == 3, in.op,
      ": expected x [tokens, dim] with query_start_loc, or [batch, tokens, dim], got ", x.sizes(),
      given(in.query_start_loc) ? "" : " without query_start_loc");
  TORCH_CHECK_VALUE(
      in.weight.dim() == 2 && in.weight.size(0) == 3 && in.weight.size(1) == x.size(-1), in.op,
      ": expected weight [3, ", x.size(-1), "], got ", in.weight.sizes());
  TORCH_CHECK_VALUE(in.states.dim() == 3 && in.states.size(1) >= in.weight.size(0) - 1 &&
                        in.states.size(2) == x.size(-1),
                    in.op, ": expected conv_states [lines, at least 2, ", x.size(-1), "], got ",
                    in.states.sizes());
}

void check_modes(const Arguments& in) {
  TORCH_CHECK_VALUE(!in.pangu || given(in.computed), in.op,
                    ": expected num_computed_tokens, because conv_mode is 'pangu'");
  if (!in.pages()) return;
  TORCH_CHECK_VALUE(given(in.first_block) && given(in.initial_state_idx) && given(in.computed) &&
                        given(in.cache_indices) && in.cache_indices->dim() == 2,
                    in.op, ": expected block_idx_first_scheduled_token, initial_state_idx, ",
                    "num_computed_tokens and cache_indices [batch, pages], because ",
                    "block_idx_last_scheduled_token is given");
  TORCH_CHECK_VALUE(in.block_size > 0, in.op, ": expected a positive block_size, got ",
                    in.block_size);
}

Integers integers(const char* op, const char* name, const MaybeTensor& tensor, std::int64_t count) {
  if (!given(tensor)) return {};
  TORCH_CHECK_TYPE(tensor->scalar_type() == at::kInt || tensor->scalar_type() == at::kLong, op,
                   ": expected ", name, " of int32, got ", tensor->scalar_type());
  TORCH_CHECK_VALUE(count < 0 || tensor->numel() == count, op, ": expected ", name, " of ", count,
                    " elements, got ", tensor->sizes());
  return integers_in(*tensor);
}

// The integer tensors as vectors.
struct Plan {
  Integers starts;
  Integers lines;
  std::int64_t pages = 1;  // lines a sequence
  Integers accepted, computed, first, last, initial;

  [[nodiscard]] std::int64_t sequences() const {
    return static_cast<std::int64_t>(starts.size()) - 1;
  }
};

Integers starts_of(const Arguments& in, const at::Tensor& x) {
  if (given(in.query_start_loc)) {
    return integers(in.op, "query_start_loc", in.query_start_loc, -1);
  }
  Integers starts;
  for (std::int64_t i = 0; i <= x.size(0); ++i) starts.push_back(i * x.size(1));
  return starts;
}

Plan plan_of(const Arguments& in, const at::Tensor& x) {
  Plan plan;
  plan.starts = starts_of(in, x);
  const std::int64_t tokens = x.dim() == 3 ? x.size(0) * x.size(1) : x.size(0);
  TORCH_CHECK_VALUE(!plan.starts.empty() && plan.starts.front() == 0 &&
                        plan.starts.back() <= tokens && std::ranges::is_sorted(plan.starts),
                    in.op, ": expected query_start_loc to rise from 0 to at most ", tokens);
  const std::int64_t count = plan.sequences();
  plan.pages = in.pages() ? in.cache_indices->size(1) : 1;
  plan.lines = integers(in.op, "cache_indices", in.cache_indices, count * plan.pages);
  plan.accepted = integers(in.op, "num_accepted_tokens", in.accepted, count);
  plan.computed = integers(in.op, "num_computed_tokens", in.computed, count);
  plan.first = integers(in.op, "block_idx_first_scheduled_token", in.first_block, count);
  plan.last = integers(in.op, "block_idx_last_scheduled_token", in.last_block, count);
  plan.initial = integers(in.op, "initial_state_idx", in.initial_state_idx, count);
  return plan;
}

// --- compute
// Line of the cache for page `page` of a sequence.
std::int64_t line_of(const Arguments& in, const Plan& plan, std::int64_t sequence,
                     std::int64_t page) {
  if (plan.lines.empty()) return sequence;
  TORCH_CHECK_INDEX(page >= 0 && page < plan.pages, in.op, ": expected block indices in [0, ",
                    plan.pages, "), got ", page);
  return plan.lines[static_cast<std::size_t>(sequence * plan.pages + page)];
}

at::Tensor line_at(const Arguments& in, std::int64_t line) {
  TORCH_CHECK_INDEX(line >= 0 && line < in.states.size(0), in.op,
                    ": expected cache_indices in [0, ", in.states.size(0), "), got ", line);
  return in.states.select(0, line);
}

// The last tokens of pages that this step completed go to the pages' own lines.
void fill_pages(const Arguments& in, const Plan& plan, std::int64_t sequence,
                const at::Tensor& padded, std::int64_t length) {
  const auto i = static_cast<std::size_t>(sequence);
  const std::int64_t size = in.block_size;
  const std::int64_t history = in.weight.size(0) - 1;
  const auto mod = [size](std::int64_t value) { return ((value % size) + size) % size; };
  const std::int64_t over = mod(length - (size - mod(plan.computed[i])));
  const std::int64_t boundary = over == 0 ? length - size : length - over;
  const std::int64_t pages = plan.last[i] - plan.first[i];
  for (std::int64_t page = 0; page < pages; ++page) {
    const std::int64_t at_token = boundary - (pages - page - 1) * size;
    TORCH_CHECK_VALUE(at_token > 0, in.op, ": expected pages that this step completes, got ", pages,
                      " for ", length, " tokens and block_size ", size);
    const at::Tensor line = line_at(in, line_of(in, plan, sequence, plan.first[i] + page));
    line.slice(0, line.size(0) - history).copy_(padded.slice(0, at_token, at_token + history));
  }
}

// Reads the sequence's history from the cache and moves the cache on; returns [taps - 1 + length,
// channels], the history before the tokens. Undefined for a sequence that is only padding.
at::Tensor with_history(const Arguments& in, const Plan& plan, std::int64_t sequence,
                        const at::Tensor& tokens) {
  const auto i = static_cast<std::size_t>(sequence);
  const std::int64_t history = in.weight.size(0) - 1;
  const std::int64_t read = line_of(in, plan, sequence, in.pages() ? plan.initial[i] : 0);
  const std::int64_t write = line_of(in, plan, sequence, in.pages() ? plan.last[i] : 0);
  if (read == in.pad_slot_id) return {};
  std::int64_t offset = in.states.size(1) - history;
  const bool fresh = !plan.computed.empty() && plan.computed[i] == 0;
  if (fresh) {
    offset = 0;
  } else if (!plan.accepted.empty()) {
    TORCH_CHECK_VALUE(plan.accepted[i] >= 1 && plan.accepted[i] - 1 <= offset, in.op,
                      ": expected num_accepted_tokens from 1 to ", offset + 1,
                      ", what conv_states holds, got ", plan.accepted[i]);
    offset = plan.accepted[i] - 1;
  }
  const at::Tensor cached = fresh ? at::zeros({history, tokens.size(1)}, tokens.options())
                                  : line_at(in, read).slice(0, 0, offset + history);
  const at::Tensor padded = at::cat({cached, tokens});
  const at::Tensor line = line_at(in, write);
  const std::int64_t kept = std::min(line.size(0), padded.size(0));
  line.slice(0, line.size(0) - kept).copy_(padded.slice(0, padded.size(0) - kept));
  const at::Tensor from_offset = padded.slice(0, offset);
  if (in.pages()) fill_pages(in, plan, sequence, from_offset, tokens.size(0));
  return from_offset;
}

at::Tensor convolved(const Arguments& in, const at::Tensor& padded, const at::Tensor& tokens,
                     std::int64_t computed) {
  const at::Tensor wide = widened(padded);
  const at::Tensor taps = widened(in.weight);
  const std::int64_t length = tokens.size(0);
  at::Tensor y = at::zeros(tokens.sizes(), wide.options());
  for (std::int64_t tap = 0; tap < taps.size(0); ++tap) {
    y.add_(wide.slice(0, tap, tap + length) * taps.select(0, tap));
  }
  if (in.pangu) {  // tokens whose history is not whole count nothing
    const std::int64_t reset = std::clamp<std::int64_t>(taps.size(0) - 1 - computed, 0, length);
    y.slice(0, 0, reset).zero_();
  }
  if (in.residual) y.add_(widened(tokens));
  return y.to(tokens.scalar_type());
}

// Writes every sequence's output into `out`, of the shape of x; sequences that are padding are
// left.
void run(const Arguments& in, const at::Tensor& x, const at::Tensor& out) {
  const Plan plan = plan_of(in, x);
  const at::Tensor tokens = x.reshape({-1, x.size(-1)});
  const at::Tensor flat = out.view({-1, x.size(-1)});
  for (std::int64_t sequence = 0; sequence < plan.sequences(); ++sequence) {
    const std::int64_t begin = plan.starts[static_cast<std::size_t>(sequence)];
    const std::int64_t end = plan.starts[static_cast<std::size_t>(sequence) + 1];
    if (begin == end) continue;
    const at::Tensor own = tokens.slice(0, begin, end);
    const at::Tensor padded = with_history(in, plan, sequence, own);
    if (!padded.defined()) continue;
    const auto i = static_cast<std::size_t>(sequence);
    const std::int64_t computed = plan.computed.empty() ? 0 : plan.computed[i];
    flat.slice(0, begin, end).copy_(convolved(in, padded, own, computed));
  }
}

bool is_pangu(const char* op, const std::optional<c10::string_view>& mode) {
  const c10::string_view name = mode.value_or("default");
  TORCH_CHECK_VALUE(name == "default" || name == "pangu", op,
                    ": expected conv_mode 'default' or 'pangu', got '", name, "'");
  return name == "pangu";
}

// Both operators: checks, and every sequence's output into `out`, which starts as what stays where
// there is no sequence.
void convolve(const char* op, const at::Tensor& x, const at::Tensor& out, const at::Tensor& weight,
              at::Tensor& conv_states, const MaybeTensor& query_start_loc,
              const MaybeTensor& cache_indices, const MaybeTensor& accepted,
              std::optional<std::int64_t> pad_slot_id, std::optional<std::int64_t> residual,
              const MaybeTensor& computed, const MaybeTensor& first_block,
              const MaybeTensor& last_block, const MaybeTensor& initial_state_idx,
              std::optional<std::int64_t> block_size, std::optional<c10::string_view> conv_mode) {
  const Arguments in{.op = op,
                     .weight = weight,
                     .states = conv_states,
                     .query_start_loc = query_start_loc,
                     .cache_indices = cache_indices,
                     .accepted = accepted,
                     .computed = computed,
                     .first_block = first_block,
                     .last_block = last_block,
                     .initial_state_idx = initial_state_idx,
                     .pad_slot_id = pad_slot_id.value_or(-1),
                     .residual = residual.value_or(0) != 0,
                     .block_size = block_size.value_or(128),
                     .pangu = is_pangu(op, conv_mode)};
  check_shapes(in, x);
  check_modes(in);
  if (!x.is_meta()) run(in, x, out);
}

// bias, activation, initial_state_mode, run_mode and max_query_len have no effect, as documented.
at::Tensor conv1d(const at::Tensor& x, const at::Tensor& weight, at::Tensor& conv_states,
                  const MaybeTensor& query_start_loc, const MaybeTensor& cache_indices,
                  const MaybeTensor& /*initial_state_mode*/, const MaybeTensor& /*bias*/,
                  const MaybeTensor& accepted, std::optional<c10::string_view> /*activation*/,
                  std::optional<std::int64_t> pad_slot_id, std::optional<std::int64_t> /*run_mode*/,
                  std::optional<std::int64_t> residual,
                  std::optional<std::int64_t> /*max_query_len*/, const MaybeTensor& computed,
                  const MaybeTensor& first_block, const MaybeTensor& last_block,
                  const MaybeTensor& initial_state_idx, std::optional<std::int64_t> block_size,
                  std::optional<c10::string_view> conv_mode) {
  at::Tensor out = at::zeros(x.sizes(), x.options());
  convolve("npu_fused_causal_conv1d", x, out, weight, conv_states, query_start_loc, cache_indices,
           accepted, pad_slot_id, residual, computed, first_block, last_block, initial_state_idx,
           block_size, conv_mode);
  return out;
}

// The same in place: what is no sequence stays.
void conv1d_v2(at::Tensor& x, const at::Tensor& weight, at::Tensor& conv_states,
               const MaybeTensor& query_start_loc, const MaybeTensor& cache_indices,
               const MaybeTensor& /*initial_state_mode*/, const MaybeTensor& /*bias*/,
               const MaybeTensor& accepted, std::optional<c10::string_view> /*activation*/,
               std::optional<std::int64_t> pad_slot_id, std::optional<std::int64_t> /*run_mode*/,
               std::optional<std::int64_t> residual, std::optional<std::int64_t> /*max_query_len*/,
               const MaybeTensor& computed, const MaybeTensor& first_block,
               const MaybeTensor& last_block, const MaybeTensor& initial_state_idx,
               std::optional<std::int64_t> block_size, std::optional<c10::string_view> conv_mode) {
  const at::Tensor out = x.clone(at::MemoryFormat::Contiguous);
  convolve("npu_fused_causal_conv1d_v2", x, out, weight, conv_states, query_start_loc,
           cache_indices, accepted, pad_slot_id, residual, computed, first_block, last_block,
           initial_state_idx, block_size, conv_mode);
  if (!x.is_meta()) x.copy_(out);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&conv1d>(m, "npu_fused_causal_conv1d");
  composed_kernel<&conv1d_v2>(m, "npu_fused_causal_conv1d_v2");
}

}  // namespace
}  // namespace npu_sim::ops
