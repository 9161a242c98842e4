// Matrix products: the cube's work.
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "aten/describe/entry.h"
#include "aten/describe/values.h"
#include "aten/describe/work_of.h"

namespace npu_sim::aten {
namespace {

using model::MatmulWork;
using model::Work;

// mm, bmm, matmul, mv: operands at 0 and 1.
Work product(const Call& call) {
  return work_of::matmul(tensor_at(call, 0), tensor_at(call, 1), output_of(call));
}

// addmm, baddbmm, addmv: out = input + operands 1 and 2.
Work product_onto_input(const Call& call) {
  return work_of::matmul(tensor_at(call, 1), tensor_at(call, 2), output_of(call), true);
}

// addbmm sums the batch: one product whose k runs through it.
Work product_summed_over_batch(const Call& call) {
  const at::Tensor& a = tensor_at(call, 1);
  const at::Tensor& b = tensor_at(call, 2);
  return MatmulWork{.m = size_along(a, 1),
                    .n = size_along(b, 2),
                    .k = size_along(a, 0) * size_along(a, 2),
                    .a = format_of(a),
                    .b = format_of(b),
                    .out = format_of(output_of(call)),
                    .adds_input = true};
}

Work linear(const Call& call) {
  return work_of::linear(tensor_at(call, 0), tensor_at(call, 1), output_of(call),
                         tensor_at(call, 2).defined());
}

// linear_backward(self, grad_output, weight): grad_output @ weight.
Work linear_input_grad(const Call& call) {
  const at::Tensor& grad_input = output_of(call);
  if (!grad_input.defined()) return model::NoWork{};
  return work_of::matmul(tensor_at(call, 1), tensor_at(call, 2), grad_input);
}

// linear_backward: grad_output^T @ self; the bias gradient rides along.
Work linear_weight_grad(const Call& call) {
  const at::Tensor& input = tensor_at(call, 0);
  const at::Tensor& grad = tensor_at(call, 1);
  if (call.results.size() < 2 || !call.results[1].isTensor()) return model::NoWork{};
  if (!call.result(1).defined()) return model::NoWork{};
  const std::int64_t outputs = size_along(grad, -1);
  return MatmulWork{.m = outputs,
                    .n = size_along(input, -1),
                    .k = ratio(grad.numel(), outputs),
                    .a = format_of(grad),
                    .b = format_of(input),
                    .out = format_of(call.result(1)),
                    .a_transposed = true};
}

// fp4 packs two numbers into the byte that torch counts as one element.
std::int64_t numbers_along_k(const at::Tensor& a) {
  const bool packed = a.scalar_type() == c10::ScalarType::Float4_e2m1fn_x2;
  return size_along(a, -1) * (packed ? 2 : 1);
}

Work scaled_product(const Call& call) {
  const at::Tensor& a = tensor_at(call, 0);
  Work work = work_of::matmul(a, tensor_at(call, 1), output_of(call));
  std::get<MatmulWork>(work).k = numbers_along_k(a);
  return work;
}

// Groups of `rows` by where each ends, as argument `index` has it; even where the host lacks that.
model::GroupSizes sizes_by_ends(const Call& call, std::size_t index, std::int64_t groups,
                                std::int64_t rows) {
  std::optional<std::vector<std::int64_t>> ends = integers_at(call, index);
  if (!ends.has_value()) return model::GroupSizes::even(groups, rows);
  std::adjacent_difference(ends->begin(), ends->end(), ends->begin());
  return model::GroupSizes(*std::move(ends));
}

template <std::size_t offsets>
Work grouped_product(const Call& call) {
  const at::Tensor& a = tensor_at(call, 0);
  const at::Tensor& b = tensor_at(call, 1);
  const at::Tensor& out = output_of(call);
  if (a.dim() == 3 && b.dim() == 3) return scaled_product(call);
  model::GroupedMatmulWork work{
      .k = numbers_along_k(a), .a = format_of(a), .b = format_of(b), .out = format_of(out)};
  if (a.dim() == 2 && b.dim() == 3) {  // groups of rows
    work.rows = sizes_by_ends(call, offsets, b.size(0), a.size(0));
    work.n = b.size(2);
  } else if (a.dim() == 3) {  // groups of columns: the transposed problem
    work.rows = sizes_by_ends(call, offsets, a.size(0), b.size(1));
    work.n = a.size(1);
  } else {  // groups along k, one product each, taken as equally long
    const std::int64_t groups = size_along(out, 0);
    work.rows = model::GroupSizes::even(groups, groups * a.size(0));
    work.n = b.size(1);
    work.k = ratio(work.k, groups);
  }
  return work;
}

// A dot product is a reduction on the vector cores: multiply, accumulate, one cross-lane sum.
Work dot(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::RowWork{.rows = 1,
                        .columns = elements_of(tensor_at(call, 0)),
                        .read = traffic.read,
                        .written = traffic.written,
                        .compute = traffic.compute,
                        .linear_ops = 1};
}

// addr: an outer product is element-wise with two broadcast operands.
Work outer(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = traffic.elements,
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = 3};
}

// Weights of fewer bits than their carrier: weight [n, k] or packed, activations [m, k].
Work weight_only_quantized(const Call& call) {
  const at::Tensor& a = tensor_at(call, 0);
  const at::Tensor& out = output_of(call);
  const std::int64_t n = size_along(out, -1);
  return MatmulWork{.m = ratio(out.numel(), n),
                    .n = n,
                    .k = size_along(a, -1),
                    .a = format_of(a),
                    .b = base::Format::kInt8,
                    .out = format_of(out),
                    .b_transposed = true};
}

Work weight_only_quantized_int4(const Call& call) {
  Work work = weight_only_quantized(call);
  std::get<MatmulWork>(work).b = base::Format::kInt4;
  return work;
}

// einsum: its own kernels are dispatched beneath it, so the call itself launches nothing.
Work composite(const Call&) { return model::NoWork{}; }

// _foreach_mm(self[], mat2[]): as many products in one kernel, taken as evenly sized.
Work product_of_each(const Call& call) {
  const at::Tensor& a = tensor_at(call, 0);
  const at::Tensor& b = tensor_at(call, 1);
  return MatmulWork{.batch = static_cast<std::int64_t>(call.arguments[0].toListRef().size()),
                    .m = size_along(a, 0),
                    .n = size_along(b, 1),
                    .k = size_along(a, 1),
                    .a = format_of(a),
                    .b = format_of(b),
                    .out = format_of(output_of(call))};
}

constexpr Describer kLinearRest[] = {linear_weight_grad};

constexpr Entry kEntries[] = {
    {"mm", product},
    {"bmm", product},
    {"matmul", product},
    {"mv", product},
    {"_int_mm", product},
    {"_foreach_mm", product_of_each},
    {"addmm", product_onto_input},
    {"addmv", product_onto_input},
    {"baddbmm", product_onto_input},
    {"_addmm_activation", product_onto_input},
    {"addbmm", product_summed_over_batch},
    {"addr", outer},
    {"dot", dot},
    {"vdot", dot},
    {"linear", linear},
    {"linear_backward", linear_input_grad, kLinearRest},
    {"einsum", composite},
    {"_scaled_mm", scaled_product},
    {"_scaled_mm_v2", scaled_product},
    {"_grouped_mm", grouped_product<2>},
    {"_scaled_grouped_mm", grouped_product<4>},
    {"_scaled_grouped_mm_v2", grouped_product<8>},
    {"_weight_int8pack_mm", weight_only_quantized},
    {"_weight_int4pack_mm_for_cpu", weight_only_quantized_int4},
    {"_dyn_quant_matmul_4bit", weight_only_quantized_int4},
};

}  // namespace

Entries matmul_entries() { return kEntries; }

}  // namespace npu_sim::aten
