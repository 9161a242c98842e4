// Products with something before or after them: npu_fused_matmul, npu_transpose_batchmatmul.
#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>

#include <array>

#include "aten/describe/registry.h"
#include "aten/describe/values.h"
#include "aten/describe/work_of.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work
bool has(const aten::Call& call, std::size_t index) {
  return aten::tensor_at(call, index).defined();
}
// The epilogue works on tiles in the scratchpad: only what it reads beside the product counts.
model::Work fused_work(const aten::Call& call) {
  model::Work work = aten::work_of::matmul(aten::tensor_at(call, 0), aten::tensor_at(call, 1),
                                           call.result(), has(call, 2));
  auto* const product = std::get_if<model::MatmulWork>(&work);
  if (product != nullptr && has(call, 3)) {
    product->adds_input = true;
    product->added = aten::bytes_of(call.argument(3));
  }
  return work;
}
// [b, m, k] @ [b, k, n] after the permutations; the batch leads the weight in either of its two.
model::Work transposed_batch_work(const aten::Call& call) {
  constexpr std::size_t kPermX2 = 5;
  const at::Tensor& input = aten::tensor_at(call, 0);
  const at::Tensor& weight = aten::tensor_at(call, 1);
  const auto perm = aten::integers_at(call, kPermX2);
  const bool swapped = perm.has_value() && perm->size() == 3 && (*perm)[1] == 2;
  const std::int64_t batch = aten::size_along(weight, 0);
  const std::int64_t k = aten::size_along(weight, swapped ? 2 : 1);
  return model::MatmulWork{.batch = batch,
                           .m = aten::ratio(input.numel(), batch * k),
                           .n = aten::size_along(weight, swapped ? 1 : 2),
                           .k = k,
                           .a = aten::format_of(input),
                           .b = aten::format_of(weight),
                           .out = aten::format_of(call.result()),
                           .b_transposed = swapped};
}

constexpr aten::Entry kEntries[] = {
    {"npu_fused_matmul", fused_work},
    {"npu_transpose_batchmatmul", transposed_batch_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
at::Tensor after(std::string_view fused_op_type, const at::Tensor& product,
                 const std::optional<at::Tensor>& x3) {
  constexpr const char* kOp = "npu_fused_matmul";
  const bool combines = fused_op_type == "add" || fused_op_type == "mul";
  TORCH_CHECK_VALUE(combines == given(x3), kOp, ": expected x3 ",
                    combines ? "with" : "only with fused_op_type 'add' or 'mul', not with",
                    " fused_op_type '", fused_op_type, "'");
  if (fused_op_type == "add") return product + widened(*x3);
  if (fused_op_type == "mul") return product * widened(*x3);
  if (fused_op_type == "gelu_erf") return at::gelu(product);
  if (fused_op_type == "gelu_tanh") return at::gelu(product, "tanh");
  TORCH_CHECK_VALUE(fused_op_type.empty() || fused_op_type == "16cast32", kOp,
                    ": expected fused_op_type of '', 'add', 'mul', 'gelu_erf', 'gelu_tanh' or "
                    "'16cast32', got '",
                    fused_op_type, "'");
  return product;
}

// The product stays in fp32 until the epilogue is done; '16cast32' leaves it there.
at::Tensor fused_matmul(const at::Tensor& x1, const at::Tensor& x2,
                        const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& x3,
                        std::string_view fused_op_type) {
  constexpr const char* kOp = "npu_fused_matmul";
  TORCH_CHECK_TYPE(x1.scalar_type() == x2.scalar_type() && x1.is_floating_point(), kOp,
                   ": expected x1 and x2 of one floating dtype, got ", x1.scalar_type(), " and ",
                   x2.scalar_type());
  TORCH_CHECK_VALUE(x1.dim() >= 2 && x2.dim() >= 2 && x1.size(-1) == x2.size(-2), kOp,
                    ": expected x1 of [..., m, k] and x2 of [..., k, n], got ", x1.sizes(), " and ",
                    x2.sizes());
  at::Tensor product = at::matmul(widened(x1), widened(x2));
  if (given(bias)) product = product + widened(*bias);
  const bool stays_wide = fused_op_type == "16cast32";
  return after(fused_op_type, product, x3).to(stays_wide ? at::kFloat : x1.scalar_type());
}

bool is_one_of(at::OptionalIntArrayRef perm, std::array<std::int64_t, 3> first,
               std::array<std::int64_t, 3> second) {
  return !perm.has_value() || perm->empty() || *perm == at::IntArrayRef(first) ||
         *perm == at::IntArrayRef(second);
}

at::Tensor permuted(const at::Tensor& tensor, at::OptionalIntArrayRef perm) {
  return perm.has_value() && !perm->empty() ? tensor.permute(*perm) : tensor;
}

// [b, m, k] @ [b, k, n], written as [m, b, n].
at::Tensor transpose_batchmatmul(const at::Tensor& input, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias,
                                 const std::optional<at::Tensor>& scale,
                                 at::OptionalIntArrayRef perm_x1, at::OptionalIntArrayRef perm_x2,
                                 at::OptionalIntArrayRef perm_y,
                                 std::optional<std::int64_t> batch_split_factor) {
  constexpr const char* kOp = "npu_transpose_batchmatmul";
  TORCH_CHECK_TYPE(input.is_floating_point() && input.scalar_type() == weight.scalar_type(), kOp,
                   ": expected input and weight of one floating dtype, got ", input.scalar_type(),
                   " and ", weight.scalar_type());
  TORCH_CHECK_VALUE(input.dim() == 3 && weight.dim() == 3, kOp,
                    ": expected input and weight of three axes, got ", input.sizes(), " and ",
                    weight.sizes());
  TORCH_CHECK_VALUE(is_one_of(perm_x1, {0, 1, 2}, {1, 0, 2}), kOp,
                    ": expected perm_x1 of [0, 1, 2] or [1, 0, 2], got ", *perm_x1);
  TORCH_CHECK_VALUE(is_one_of(perm_x2, {0, 1, 2}, {0, 2, 1}), kOp,
                    ": expected perm_x2 of [0, 1, 2] or [0, 2, 1], got ", *perm_x2);
  TORCH_CHECK_VALUE(is_one_of(perm_y, {1, 0, 2}, {1, 0, 2}), kOp,
                    ": expected perm_y of [1, 0, 2], got ", *perm_y);
  TORCH_CHECK_TYPE(!given(bias), kOp, ": expected no bias, got one");
  TORCH_CHECK_NOT_IMPLEMENTED(!given(scale), kOp, ": scale (an int8 result) is not built yet");
  const at::Tensor a = permuted(input, perm_x1);
  const at::Tensor b = permuted(weight, perm_x2);
  TORCH_CHECK_VALUE(a.size(0) == b.size(0) && a.size(2) == b.size(1), kOp,
                    ": expected [b, m, k] and [b, k, n] after the permutations, got ", a.sizes(),
                    " and ", b.sizes());
  const at::Tensor y = at::matmul(a, b).transpose(0, 1).contiguous();
  const std::int64_t split = batch_split_factor.value_or(1);
  TORCH_CHECK_VALUE(split >= 1 && y.size(1) % split == 0, kOp,
                    ": expected batch_split_factor that divides the batch of ", y.size(1), ", got ",
                    split);
  if (split == 1) return y;
  const std::int64_t columns = y.size(1) / split * y.size(2);
  return y.view({y.size(0), split, columns}).transpose(0, 1).contiguous();
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&fused_matmul>(m, "npu_fused_matmul");
  composed_kernel<&transpose_batchmatmul>(m, "npu_transpose_batchmatmul");
}

}  // namespace
}  // namespace npu_sim::ops
