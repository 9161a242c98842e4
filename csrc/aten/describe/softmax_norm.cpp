// Softmax and normalisations, forward and backward: rows that are swept twice.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using model::Work;

// Maximum, subtract, exp, sum, divide; a long row keeps a running maximum and sum, then writes.
constexpr VectorCost kSoftmax{.linear = 4, .special = 2, .reductions = 2, .passes = 2};
constexpr VectorCost kMaskedSoftmax{.linear = 5, .special = 2, .reductions = 2, .passes = 2};
// sum(g y), then (g - sum) y.
constexpr VectorCost kSoftmaxBackward{.linear = 4, .reductions = 1, .passes = 2};
// sum(g), then g - exp(y) sum.
constexpr VectorCost kLogSoftmaxBackward{.linear = 3, .special = 1, .reductions = 1, .passes = 2};
// Sum, subtract, square, sum, scale, weight, bias, each with its load, in two sweeps: fit of
// group_norm in hicann/cann-bench@d59d44c.
constexpr VectorCost kNorm{.linear = 14, .reductions = 2, .passes = 2};
// Two row sums (g w, g w x), the gradient of x, and the column sums for weight and bias.
constexpr VectorCost kNormBackward{.linear = 13, .reductions = 2, .passes = 2};
constexpr VectorCost kRmsNorm{.linear = 6, .reductions = 1, .passes = 2};
constexpr VectorCost kRmsNormBackward{.linear = 9, .reductions = 1, .passes = 2};

// Elements that one mean or rstd covers: the statistics' own count says how many rows there are.
std::int64_t columns_of(const at::Tensor& input, const at::Tensor& statistics) {
  const std::int64_t rows = elements_of(statistics);
  return rows == 0 ? size_along(input, -1) : input.numel() / rows;
}

const at::Tensor& result_or_input(const Call& call, std::size_t result) {
  const bool there = result < call.results.size() && call.results[result].isTensor();
  return there ? call.result(result) : tensor_at(call, 0);
}

// native_layer_norm, native_group_norm: result 1 holds the means.
Work norm_by_mean(const Call& call) {
  return row_wise(call, columns_of(tensor_at(call, 0), result_or_input(call, 1)), kNorm);
}

// Backward of the same: (grad_out, input, ..., mean at `statistics`).
template <std::size_t statistics>
Work norm_backward(const Call& call) {
  return row_wise(call, columns_of(tensor_at(call, 1), tensor_at(call, statistics)), kNormBackward);
}

// layer_norm(input, normalized_shape, weight, bias, eps), rms_norm(input, normalized_shape, ...).
std::int64_t normalized_elements(const Call& call) {
  std::int64_t elements = 1;
  if (call.arguments.size() > 1 && call.arguments[1].isList()) {
    for (const c10::IValue& size : call.arguments[1].toListRef()) {
      if (size.isInt()) elements *= size.toInt();
    }
  }
  return elements;
}
Work layer_norm(const Call& call) { return row_wise(call, normalized_elements(call), kNorm); }
Work rms_norm(const Call& call) { return row_wise(call, normalized_elements(call), kRmsNorm); }
Work rms_norm_backward(const Call& call) {
  return row_wise(call, columns_of(tensor_at(call, 1), tensor_at(call, 3)), kRmsNormBackward);
}

// A channel's elements are the row of a batch norm.
std::int64_t channel_elements(const at::Tensor& input) {
  return ratio(input.numel(), size_along(input, 1));
}

// Training sweeps twice; inference only scales and shifts.
Work batch_norm(const Call& call, bool training) {
  if (!training) return element_wise(call, 2, 0);
  return row_wise(call, channel_elements(tensor_at(call, 0)), kNorm);
}
// native_batch_norm(input, weight, bias, running_mean, running_var, training, ...)
Work batch_norm_flag_at_5(const Call& call) { return batch_norm(call, boolean_at(call, 5, true)); }
// _native_batch_norm_legit.no_stats(input, weight, bias, training, ...)
Work batch_norm_flag_at_3(const Call& call) { return batch_norm(call, boolean_at(call, 3, true)); }
Work batch_norm_training(const Call& call) { return batch_norm(call, true); }
Work batch_norm_inference(const Call& call) { return batch_norm(call, false); }

Work batch_norm_statistics(const Call& call) {
  return row_wise(call, channel_elements(tensor_at(call, 0)),
                  {.linear = 4, .reductions = 2, .passes = 2});
}

// (grad_out, input, weight, running_mean, running_var, save_mean, save_invstd, train, ...)
Work batch_norm_backward(const Call& call) {
  return row_wise(call, channel_elements(tensor_at(call, 1)), kNormBackward);
}

// _weight_norm_interface(v, g, dim): w = v g / |v|; result 1 holds the norms.
Work weight_norm(const Call& call) {
  return row_wise(call, columns_of(tensor_at(call, 0), result_or_input(call, 1)),
                  {.linear = 2, .special = 0, .reductions = 1, .passes = 2});
}
Work weight_norm_backward(const Call& call) {
  return row_wise(call, columns_of(tensor_at(call, 0), tensor_at(call, 3)),
                  {.linear = 5, .reductions = 1, .passes = 2});
}

// renorm(self, p, dim, maxnorm): a row is everything at one place of `dim`.
Work renorm(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  return row_wise(call, ratio(input.numel(), size_along(input, integer_at(call, 2, 0))),
                  {.linear = 3, .reductions = 1, .passes = 2});
}

// batch_norm_backward_reduce(grad_out, input, mean, invstd, ...): the two sums of a channel.
Work batch_norm_backward_sums(const Call& call) {
  return row_wise(call, channel_elements(tensor_at(call, 1)), {.linear = 3, .reductions = 2});
}

constexpr Entry kSoftmaxEntries[] = {
    {"_softmax", along<1, kSoftmax>},
    {"softmax", along<1, kSoftmax>},
    {"_log_softmax", along<1, kSoftmax>},
    {"log_softmax", along<1, kSoftmax>},
    {"_safe_softmax", along<1, kMaskedSoftmax>},
    {"_masked_softmax", along<2, kMaskedSoftmax>},
    {"_softmax_backward_data", along<2, kSoftmaxBackward>},
    {"_log_softmax_backward_data", along<2, kLogSoftmaxBackward>},
    {"_masked_softmax_backward", along<3, kSoftmaxBackward>},
};

constexpr Entry kNormEntries[] = {
    {"native_layer_norm", norm_by_mean},
    {"native_layer_norm_backward", norm_backward<3>},
    {"layer_norm", layer_norm},
    {"native_group_norm", norm_by_mean},
    {"native_group_norm_backward", norm_backward<2>},
    {"rms_norm", rms_norm},
    {"_fused_rms_norm", rms_norm},
    {"_fused_rms_norm_backward", rms_norm_backward},
    {"native_batch_norm", batch_norm_flag_at_5},
    {"_native_batch_norm_legit", batch_norm_flag_at_5},
    {"_native_batch_norm_legit.no_stats", batch_norm_flag_at_3},
    {"_native_batch_norm_legit.no_stats_out", batch_norm_flag_at_3},
    {"_native_batch_norm_legit_functional", batch_norm_flag_at_5},
    {"_native_batch_norm_legit_no_training", batch_norm_inference},
    {"_batch_norm_with_update", batch_norm_training},
    {"_batch_norm_with_update_functional", batch_norm_training},
    {"_batch_norm_no_update", batch_norm_inference},
    {"native_batch_norm_backward", batch_norm_backward},
    {"batch_norm_backward", batch_norm_backward},
    {"batch_norm_stats", batch_norm_statistics},
    {"batch_norm_update_stats", batch_norm_statistics},
    {"batch_norm_gather_stats", elements<6, 1>},
    {"batch_norm_gather_stats_with_counts", elements<6, 1>},
    {"batch_norm_backward_reduce", batch_norm_backward_sums},
    {"batch_norm_backward_elemt", elements<5>},
    {"batch_norm_elemt", batch_norm_inference},
    {"_weight_norm_interface", weight_norm},
    {"_weight_norm_interface_backward", weight_norm_backward},
    {"renorm", renorm},
};

}  // namespace

Entries softmax_entries() { return kSoftmaxEntries; }
Entries norm_entries() { return kNormEntries; }

}  // namespace npu_sim::aten
