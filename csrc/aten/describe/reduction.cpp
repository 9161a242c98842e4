// Reductions and scans.
#include <algorithm>

#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using model::Work;

// equal(): compare and reduce; its answer is a Python bool.
Work equal(const Call& call) {
  return row_wise(call, elements_of(tensor_at(call, 0)), {.linear = 2});
}

// trace reads the diagonal only.
Work trace(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const std::int64_t diagonal = std::min(size_along(input, 0), size_along(input, 1));
  const auto item = static_cast<std::int64_t>(input.element_size());
  return model::RowWork{.rows = 1,
                        .columns = diagonal,
                        .read = base::Bytes(diagonal * item),
                        .written = bytes_of(output_of(call)),
                        .compute = format_of(input)};
}

// Pairwise distances [p, m] x [r, m] -> [p, r]: each output walks m elements of both.
Work distances(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const std::int64_t width = size_along(input, -1);
  const Traffic traffic = traffic_of(call);
  return model::RowWork{.rows = traffic.elements,
                        .columns = width,
                        .read = traffic.read,
                        .written = traffic.written,
                        .compute = traffic.compute,
                        .linear_ops = 3};
}

// _cummax_helper(self, values, indices, dim) fills two arguments and returns nothing.
Work argument_scan(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  return model::RowWork{
      .rows = ratio(elements_of(input), size_along(input, integer_at(call, 3, -1))),
      .columns = size_along(input, integer_at(call, 3, -1)),
      .read = bytes_of(input),
      .written = bytes_of(tensor_at(call, 1)) + bytes_of(tensor_at(call, 2)),
      .compute = format_of(input),
      .linear_ops = 14,
      .reductions = 0};
}

constexpr VectorCost kSum{.linear = 1};
constexpr VectorCost kCount{.linear = 2};
constexpr VectorCost kArgument{.linear = 2};               // compare, and select the place
constexpr VectorCost kBoth{.linear = 2, .reductions = 2};  // minimum and maximum
constexpr VectorCost kSquares{.linear = 1};                // fused multiply-add
constexpr VectorCost kMoments{.linear = 4, .reductions = 2, .passes = 2};
constexpr VectorCost kLogSumExp{.linear = 3, .special = 1, .reductions = 2, .passes = 2};
constexpr VectorCost kNanSum{.linear = 3};
// A scan adds log2(64 lanes) shifted copies of each register and the carry of the row.
constexpr VectorCost kScan{.linear = 7, .reductions = 0};
constexpr VectorCost kArgumentScan{.linear = 14, .reductions = 0};
constexpr VectorCost kLogScan{.linear = 70, .special = 14, .reductions = 0};

constexpr Entry kEntries[] = {
    {"sum", reduction<kSum>},
    {"mean", reduction<kSum>},
    {"prod", reduction<kSum>},
    {"nansum", reduction<kNanSum>},
    {"nanmean", reduction<kNanSum>},
    {"amax", reduction<kSum>},
    {"amin", reduction<kSum>},
    {"max", reduction<kArgument>},
    {"min", reduction<kArgument>},
    {"argmax", reduction<kArgument>},
    {"argmin", reduction<kArgument>},
    {"aminmax", reduction<kBoth>},
    {"_aminmax", reduction<kBoth>},
    {"all", reduction<kCount>},
    {"any", reduction<kCount>},
    {"_is_all_true", reduction<kCount>},
    {"_is_any_true", reduction<kCount>},
    {"count_nonzero", reduction<kCount>},
    {"norm", reduction<kSquares>},
    {"native_norm", reduction<kSquares>},
    {"linalg_vector_norm", reduction<kSquares>},
    {"linalg__powsum", reduction<kSquares>},
    {"dist", reduction<kCount>},
    {"var", reduction<kMoments>},
    {"std", reduction<kMoments>},
    {"var_mean", reduction<kMoments>},
    {"std_mean", reduction<kMoments>},
    {"logsumexp", reduction<kLogSumExp>},
    {"hash_tensor", reduction<kSum>},
    {"segment_reduce", reduction<kSum>},
    {"_segment_reduce_backward", elements<2>},
    {"equal", equal},
    {"allclose", equal},
    {"_assert_async", reduction<kCount>},
    {"_functional_assert_async", reduction<kCount>},
    {"trace", trace},
    {"cumsum", along<1, kScan>},
    {"cumprod", along<1, kScan>},
    {"_logcumsumexp", along<1, kLogScan>},
    {"logcumsumexp", along<1, kLogScan>},
    {"cummax", along<1, kArgumentScan>},
    {"cummin", along<1, kArgumentScan>},
    {"_cummax_helper", argument_scan},
    {"_cummin_helper", argument_scan},
    {"_cdist_forward", distances},
    {"_cdist_backward", distances},
    {"_pdist_forward", distances},
    {"_pdist_backward", distances},
    {"_euclidean_dist", distances},
};

}  // namespace

Entries reduction_entries() { return kEntries; }

}  // namespace npu_sim::aten
