// npu_grouped_matmul_add and npu_add_quant_gmm, each with its in-place form: products over the
// groups of K, added to what is there. They gather the gradients of weights over micro-batches.
#include <ATen/TensorOperators.h>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "ops/host_kernel.h"
#include "ops/matmul/grouped_forms.h"
#include "ops/matmul/grouped_work.h"
#include "ops/matmul/product_work.h"

namespace npu_sim::ops {
namespace {

// --- work: the product, then its sum with the accumulator, which is read and written once more.
GroupedProduct product_into(const aten::Call& call, std::size_t group_list,
                            std::size_t group_list_type) {
  const at::Tensor& sum = aten::tensor_at(call, 0);
  const auto list = aten::integers_at(call, group_list);
  GroupedProduct product{.groups = aten::size_along(call.argument(group_list), 0),
                         .n = aten::size_along(sum, -1),
                         .out = aten::format_of(sum)};
  if (list.has_value()) {
    product.spans = spans_of(*list, aten::integer_at(call, group_list_type, kRunningSums));
  }
  return product;
}

model::Work grouped_matmul_add_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(1);
  GroupedProduct product = product_into(call, 3, 7);
  product.rows = aten::size_along(x, 1);
  product.k = aten::size_along(x, 0);
  product.a = aten::format_of(x);
  product.b = aten::format_of(call.argument(2));
  return work_by_k(product);
}

model::Work add_quant_gmm_work(const aten::Call& call) {
  constexpr const char* kOp = "npu_add_quant_gmm";
  const Coded x1 = coded_operand({kOp, "x1"}, call.argument(1), dtype_at(call, 8));
  const Coded x2 = coded_operand({kOp, "x2"}, call.argument(2), dtype_at(call, 9));
  const bool mx = holds_e8m0(call.argument(3), dtype_at(call, 11));
  GroupedProduct product = product_into(call, 4, 6);
  product.rows = aten::size_along(x1.codes, 0);
  product.k = aten::size_along(x1.codes, 1);
  product.a = product_format(x1, mx);
  product.b = product_format(x2, mx);
  return work_by_k(product);
}

// The accumulator is read while the product is written.
model::Work accumulated(const aten::Call& call) {
  const at::Tensor& sum = aten::tensor_at(call, 0);
  return model::VectorWork{.elements = aten::elements_of(sum), .read = aten::bytes_of(sum)};
}
constexpr aten::Describer kAccumulate[] = {accumulated};
constexpr aten::Entry kEntries[] = {
    {"npu_grouped_matmul_add", grouped_matmul_add_work, kAccumulate},
    {"npu_add_quant_gmm", add_quant_gmm_work, kAccumulate},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
// The accumulator as [groups, m, n], however its first two axes are folded.
at::Tensor sums_of(ArgumentName name, const at::Tensor& sums, const GroupedSizes& sizes) {
  TORCH_CHECK_TYPE(sums.scalar_type() == at::kFloat, name.op, ": expected ", name.argument,
                   " of float32, got ", sums.scalar_type());
  const bool fits = sums.sizes() == at::IntArrayRef({sizes.groups, sizes.m, sizes.n}) ||
                    sums.sizes() == at::IntArrayRef({sizes.groups * sizes.m, sizes.n});
  TORCH_CHECK_VALUE(fits, name.op, ": expected ", name.argument, " of [", sizes.groups, ", ",
                    sizes.m, ", ", sizes.n, "], got ", sums.sizes());
  return sums.dim() == 3 ? sums : sums.unflatten(0, {sizes.groups, sizes.m});
}

struct KGroups {
  const char* op;
  const at::Tensor& list;
  std::int64_t list_type;
};

// sums[g] += x[:, g] @ weight[g, :] for each part g of K.
void add_products(const at::Tensor& sums, const Coded& x, const Coded& weight,
                  const KGroups& groups, const KGroupScales& scales) {
  const std::optional<Integers> list = group_list_of(groups.op, groups.list);
  if (!list.has_value()) return;
  for (const Span& span :
       checked_spans({groups.op, *list, groups.list_type}, sums.size(0), x.codes.size(1))) {
    if (span.size == 0) continue;
    sums.select(0, span.group)
        .add_(scaled_product(narrowed(x, 1, span), narrowed(weight, 0, span), scales.of(span)));
  }
}

GroupedSizes k_sizes(const KGroups& groups, const Coded& x, const Coded& weight) {
  check_list_type(groups.op, groups.list_type, 2);
  TORCH_CHECK_VALUE(groups.list.dim() == 1, groups.op, ": expected group_list of one axis, got ",
                    groups.list.sizes());
  return {.groups = groups.list.size(0),
          .m = x.codes.size(0),
          .n = weight.codes.size(1),
          .k = x.codes.size(1)};
}

at::Tensor& grouped_matmul_add_(at::Tensor& input, const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& group_list, bool transpose_x,
                                bool transpose_weight, std::int64_t group_type,
                                std::optional<std::int64_t> group_list_type) {
  constexpr const char* kOp = "npu_grouped_matmul_add";
  TORCH_CHECK_VALUE(transpose_x && !transpose_weight && group_type == 2, kOp,
                    ": expected transpose_x, no transpose_weight and group_type 2 (k), got ",
                    transpose_x, ", ", transpose_weight, " and ", group_type);
  TORCH_CHECK_TYPE((x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16) &&
                       x.scalar_type() == weight.scalar_type(),
                   kOp, ": expected x and weight both of float16 or of bfloat16, got ",
                   x.scalar_type(), " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(x.dim() == 2 && weight.dim() == 2 && x.size(0) == weight.size(0), kOp,
                    ": expected x of [k, m] and weight of [k, n], got ", x.sizes(), " and ",
                    weight.sizes());
  const KGroups groups{kOp, group_list, group_list_type.value_or(kRunningSums)};
  const Coded left{.codes = x.t(), .element = std::nullopt};
  const Coded right{.codes = weight, .element = std::nullopt};
  const GroupedSizes sizes = k_sizes(groups, left, right);
  add_products(sums_of({kOp, "input"}, input, sizes), left, right, groups, {});
  return input;
}

at::Tensor grouped_matmul_add(const at::Tensor& input, const at::Tensor& x,
                              const at::Tensor& weight, const at::Tensor& group_list,
                              bool transpose_x, bool transpose_weight, std::int64_t group_type,
                              std::optional<std::int64_t> group_list_type) {
  at::Tensor sums = input.clone(at::MemoryFormat::Contiguous);
  return grouped_matmul_add_(sums, x, weight, group_list, transpose_x, transpose_weight, group_type,
                             group_list_type);
}

// HiFloat8 with scales in fp32, or float8 in the MX format.
void check_formats(const char* op, const Coded& x1, const Coded& x2, bool mx) {
  const bool hifloat8 = x1.element == compute::Element::kHifloat8 && x2.element == x1.element;
  const auto is_fp8 = [](const Coded& operand) {
    return operand.element == compute::Element::kE4m3 || operand.element == compute::Element::kE5m2;
  };
  TORCH_CHECK_TYPE(mx ? is_fp8(x1) && is_fp8(x2) : hifloat8, op,
                   ": expected x1 and x2 of float8 with scales of float8_e8m0fnu, or of hifloat8 "
                   "with scales of float32, got ",
                   x1.codes.scalar_type(), " and ", x2.codes.scalar_type());
}

at::Tensor& add_quant_gmm_(at::Tensor& input, const at::Tensor& x1, const at::Tensor& x2,
                           const at::Tensor& x2_scale, const at::Tensor& group_list,
                           const MaybeTensor& x1_scale, std::optional<std::int64_t> group_list_type,
                           at::OptionalIntArrayRef group_sizes,
                           std::optional<std::int64_t> x1_dtype,
                           std::optional<std::int64_t> x2_dtype,
                           std::optional<std::int64_t> x1_scale_dtype,
                           std::optional<std::int64_t> x2_scale_dtype) {
  constexpr const char* kOp = "npu_add_quant_gmm";
  TORCH_CHECK_VALUE(!group_sizes.has_value(), kOp, ": expected no group_sizes, got ", *group_sizes);
  const Coded left = coded_operand({kOp, "x1"}, x1, x1_dtype);
  const Coded right = coded_operand({kOp, "x2"}, x2, x2_dtype);
  TORCH_CHECK_VALUE(x1.dim() == 2 && x2.dim() == 2 && x1.size(1) == x2.size(0), kOp,
                    ": expected x1 of [m, k] (a transposed view) and x2 of [k, n], got ",
                    x1.sizes(), " and ", x2.sizes());
  const ScaleArgument of_x2{
      .name = {kOp, "x2_scale"}, .tensor = x2_scale, .mx = holds_e8m0(x2_scale, x2_scale_dtype)};
  ScaleArgument of_x1{.name = {kOp, "x1_scale"}, .tensor = {}};
  if (given(x1_scale)) {
    of_x1.tensor = *x1_scale;
    of_x1.mx = holds_e8m0(*x1_scale, x1_scale_dtype);
  }
  check_formats(kOp, left, right, of_x2.mx);
  const KGroups groups{kOp, group_list, group_list_type.value_or(kRunningSums)};
  const GroupedSizes sizes = k_sizes(groups, left, right);
  add_products(sums_of({kOp, "input"}, input, sizes), left, right, groups,
               k_group_scales(of_x1, of_x2, sizes));
  return input;
}

at::Tensor add_quant_gmm(const at::Tensor& input, const at::Tensor& x1, const at::Tensor& x2,
                         const at::Tensor& x2_scale, const at::Tensor& group_list,
                         const MaybeTensor& x1_scale, std::optional<std::int64_t> group_list_type,
                         at::OptionalIntArrayRef group_sizes, std::optional<std::int64_t> x1_dtype,
                         std::optional<std::int64_t> x2_dtype,
                         std::optional<std::int64_t> x1_scale_dtype,
                         std::optional<std::int64_t> x2_scale_dtype) {
  at::Tensor sums = input.clone(at::MemoryFormat::Contiguous);
  return add_quant_gmm_(sums, x1, x2, x2_scale, group_list, x1_scale, group_list_type, group_sizes,
                        x1_dtype, x2_dtype, x1_scale_dtype, x2_scale_dtype);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&grouped_matmul_add>(m, "npu_grouped_matmul_add");
  composed_kernel<&grouped_matmul_add_>(m, "npu_grouped_matmul_add_");
  composed_kernel<&add_quant_gmm>(m, "npu_add_quant_gmm");
  composed_kernel<&add_quant_gmm_>(m, "npu_add_quant_gmm_");
}

}  // namespace
}  // namespace npu_sim::ops
