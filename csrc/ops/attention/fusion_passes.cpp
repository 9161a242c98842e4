// The forward and the backward pass of training attention.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <limits>

#include "ops/attention/flash_backward.h"
#include "ops/attention/fusion_attention.h"

namespace npu_sim::ops {
namespace {

at::Tensor copied(const at::Tensor& statistics) {
  std::vector<std::int64_t> sizes = statistics.sizes().vec();
  sizes.push_back(kStatisticsCopies);
  return statistics.unsqueeze(-1).expand(sizes).contiguous();
}

at::Tensor single(const at::Tensor& copies) { return copies.select(-1, 0).contiguous(); }

// Calls `take` with every sequence and key head.
template <class Take>
void for_heads(const FusionSequences& sequences, const Take& take) {
  for (std::size_t s = 0; s < sequences.all().size(); ++s) {
    for (std::int64_t head = 0; head < sequences.key_heads(); ++head) take(s, head);
  }
}

void check_result(const Fusion& on, const char* name, const at::Tensor& x, at::IntArrayRef sizes) {
  TORCH_CHECK_VALUE(x.defined() && x.sizes() == sizes, on.op, ": expected ", name, " of ", sizes,
                    ", got ", x.defined() ? x.sizes() : at::IntArrayRef{});
}

void check_results(const Fusion& on, const FusionSequences& sequences,
                   const FusionResults& results) {
  const auto out_sizes = sizes_in(axes_named(on.layout), sequences.out_sizes());
  check_result(on, "dy", results.grad, out_sizes);
  check_result(on, "attention_in", results.out, out_sizes);
  std::vector<std::int64_t> sizes = sequences.statistics_sizes();
  sizes.push_back(kStatisticsCopies);
  check_result(on, "softmax_max", results.statistics.greatest, sizes);
  check_result(on, "softmax_sum", results.statistics.sum, sizes);
  for (const at::Tensor* const x : {&results.grad, &results.out}) {
    TORCH_CHECK_TYPE(x->scalar_type() == on.query.scalar_type(), on.op,
                     ": expected dy and attention_in of query's ", on.query.scalar_type(), ", got ",
                     x->scalar_type());
  }
  for (const at::Tensor* const x : {&results.statistics.greatest, &results.statistics.sum}) {
    TORCH_CHECK_TYPE(x->scalar_type() == at::kFloat, on.op,
                     ": expected softmax_max and softmax_sum of float32, got ", x->scalar_type());
  }
}

// fp32 gradients as the engine adds to them.
struct WideGradients {
  at::Tensor query;  // [batch, heads, tokens, width with rope]
  at::Tensor key;
  at::Tensor value;
  at::Tensor bias;  // of pse's shape
  at::Tensor sink;  // [sequences, heads]
};

WideGradients wide_gradients(const Fusion& on, const FusionSequences& sequences) {
  const auto floats = on.query.options().dtype(at::kFloat);
  const auto zeros = [&](const at::Tensor& x, std::int64_t width) {
    return at::zeros({x.size(0), x.size(1), x.size(2), width}, floats);
  };
  WideGradients wide{.query = zeros(sequences.query, sequences.width()),
                     .key = zeros(sequences.key, sequences.width()),
                     .value = zeros(sequences.value, sequences.value.size(3)),
                     .bias = {},
                     .sink = {}};
  if (on.bias.values.defined()) wide.bias = at::zeros(on.bias.values.sizes(), floats);
  if (on.sink.defined()) wide.sink = at::zeros({std::ssize(sequences.all()), on.heads}, floats);
  return wide;
}

// Where the rows of `head` start.
float* rows_at(const at::Tensor& wide, std::int64_t batch, std::int64_t head, std::int64_t token) {
  return wide.mutable_data_ptr<float>() + batch * wide.stride(0) + head * wide.stride(1) +
         token * wide.stride(2);
}

flash::Gradients gradients_at(const Fusion& on, const WideGradients& wide,
                              const FusionSequences& sequences, std::size_t index,
                              std::int64_t key_head) {
  const SequencePair& sequence = sequences.all()[index];
  const std::int64_t head = key_head * (on.heads / sequences.key_heads());
  flash::Gradients to;
  to.query = rows_at(wide.query, sequence.batch, head, sequence.query_first);
  to.query_head_stride = wide.query.stride(1);
  to.key = rows_at(wide.key, sequence.batch, key_head, sequence.key_first);
  to.value = rows_at(wide.value, sequence.batch, key_head, sequence.key_first);
  const auto number = static_cast<std::int64_t>(index);
  if (on.sink.defined()) {
    to.sinks = wide.sink.mutable_data_ptr<float>() + number * on.heads + head;
  }
  if (on.bias.values.defined()) to.bias = on.bias.gradient_of(number, head, wide.bias);
  return to;
}

// Problems that add to the same bias must share a group: those of one head where pse has no batch.
std::vector<std::vector<flash::BackwardProblem>> grouped(const FusionSequences& sequences,
                                                         bool by_head, const auto& problem_at) {
  const auto key_heads = static_cast<std::size_t>(sequences.key_heads());
  std::vector<std::vector<flash::BackwardProblem>> groups(
      by_head ? key_heads : key_heads * sequences.all().size());
  for_heads(sequences, [&](std::size_t s, std::int64_t head) {
    const std::size_t group = by_head ? 0 : s * key_heads;
    groups[group + static_cast<std::size_t>(head)].push_back(problem_at(s, head));
  });
  return groups;
}

FusionGradients in_layouts(const Fusion& on, const FusionSequences& sequences,
                           const WideGradients& wide) {
  const auto part = [&on](const at::Tensor& x, std::int64_t first, std::int64_t width) {
    return in_layout(x.narrow(3, first, width).to(on.query.scalar_type()), on.layout);
  };
  const std::int64_t width = sequences.query.size(3);
  FusionGradients gradients{.query = part(wide.query, 0, width),
                            .key = part(wide.key, 0, width),
                            .value = part(wide.value, 0, wide.value.size(3)),
                            .bias = {},
                            .query_rope = {},
                            .key_rope = {},
                            .sink = {}};
  if (on.query_rope.defined()) {
    gradients.query_rope = part(wide.query, width, sequences.width() - width);
    gradients.key_rope = part(wide.key, width, sequences.width() - width);
  }
  if (wide.bias.defined()) gradients.bias = wide.bias.to(on.bias.values.scalar_type());
  gradients.sink = wide.sink.defined() ? wide.sink.sum(0) : at::empty({0}, wide.query.options());
  return gradients;
}

FusionGradients empty_gradients(const Fusion& on) {
  const auto like = [](const at::Tensor& x) {
    return x.defined() ? at::empty_like(x, at::MemoryFormat::Contiguous) : x;
  };
  return {.query = like(on.query),
          .key = like(on.key),
          .value = like(on.value),
          .bias = like(on.bias.values),
          .query_rope = like(on.query_rope),
          .key_rope = like(on.key_rope),
          .sink = on.sink.defined() ? like(on.sink)
                                    : at::empty({0}, on.query.options().dtype(at::kFloat))};
}

}  // namespace

FusionForward fusion_forward(const Fusion& on) {
  const FusionSequences sequences(on);
  const auto floats = on.query.options().dtype(at::kFloat);
  const at::Tensor out =
      at::zeros(sizes_in(axes_named(on.layout), sequences.out_sizes()), on.query.options());
  const StatisticsTensors statistics{
      .greatest =
          at::full(sequences.statistics_sizes(), -std::numeric_limits<double>::infinity(), floats),
      .sum = at::zeros(sequences.statistics_sizes(), floats)};
  if (!out.is_meta()) {
    const at::Tensor by_head = heads_first(out, on.layout, on.heads);
    std::vector<flash::Problem> problems;
    for_heads(sequences, [&](std::size_t s, std::int64_t key_head) {
      const SequencePair& sequence = sequences.all()[s];
      const std::int64_t head = key_head * (on.heads / sequences.key_heads());
      flash::Problem problem = problem_of(on, sequences, s, key_head);
      const flash::Strided rows = rows_of_head(by_head, sequence.batch, head, sequence.query_first);
      problem.out = {.data = const_cast<void*>(rows.data),
                     .dtype = rows.dtype,
                     .head_stride = by_head.stride(1),
                     .row_stride = rows.stride};
      problem.statistics = statistics_of(on, sequence, head, statistics);
      problems.push_back(std::move(problem));
    });
    flash::forward(problems);
  }
  return {.out = out, .statistics = {copied(statistics.greatest), copied(statistics.sum)}};
}

FusionGradients fusion_backward(const Fusion& on, const FusionResults& results) {
  const FusionSequences sequences(on);
  check_results(on, sequences, results);
  if (on.query.is_meta()) return empty_gradients(on);
  const at::Tensor out = with_whole_rows(heads_first(results.out, on.layout, on.heads));
  const at::Tensor grad = with_whole_rows(heads_first(results.grad, on.layout, on.heads));
  const StatisticsTensors statistics{single(results.statistics.greatest),
                                     single(results.statistics.sum)};
  const WideGradients wide = wide_gradients(on, sequences);
  const auto problem_at = [&](std::size_t s, std::int64_t key_head) {
    const SequencePair& sequence = sequences.all()[s];
    const std::int64_t head = key_head * (on.heads / sequences.key_heads());
    flash::Problem problem = problem_of(on, sequences, s, key_head);
    problem.statistics = statistics_of(on, sequence, head, statistics);
    return flash::BackwardProblem{
        .problem = std::move(problem),
        .out = rows_of_head(out, sequence.batch, head, sequence.query_first),
        .out_head_stride = out.stride(1),
        .grad = rows_of_head(grad, sequence.batch, head, sequence.query_first),
        .grad_head_stride = grad.stride(1),
        .gradients = gradients_at(on, wide, sequences, s, key_head)};
  };
  const bool by_head = wide.bias.defined() && on.bias.is_shared();
  const auto groups = grouped(sequences, by_head, problem_at);
  flash::backward(std::vector<flash::Group>(groups.begin(), groups.end()));
  return in_layouts(on, sequences, wide);
}

}  // namespace npu_sim::ops
