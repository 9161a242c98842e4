#include "ops/matmul/product_work.h"

#include <algorithm>

namespace npu_sim::ops {
namespace {

bool is_transposed(const at::Tensor& matrix) {
  return matrix.stride(-2) == 1 && matrix.stride(-1) > 1;
}

}  // namespace

base::Format product_format(const Coded& operand, bool mx) {
  if (!operand.element.has_value()) return aten::format_of(operand.codes);
  if (!mx) return format_of(*operand.element);
  return compute::bits(*operand.element) == 4 ? base::Format::kMxFp4 : base::Format::kMxFp8;
}

Coded operand_at(const aten::Call& call, std::size_t index, std::size_t dtype_index) {
  constexpr std::int64_t kNone = -1;
  const std::int64_t dtype = aten::integer_at(call, dtype_index, kNone);
  return packed_operand(aten::tensor_at(call, index),
                        dtype == kNone ? std::nullopt : MaybeInteger(dtype));
}

model::MatmulWork with_reads(model::MatmulWork work, const aten::Call& call,
                             std::initializer_list<std::size_t> beside) {
  for (const std::size_t index : beside) work.added += aten::bytes_of(aten::tensor_at(call, index));
  work.adds_input = work.added.count() > 0;
  return work;
}

model::MatmulWork product_work(const aten::Call& call, const Coded& a, const Coded& b, bool mx,
                               std::initializer_list<std::size_t> beside) {
  const at::Tensor& out = aten::output_of(call);
  model::MatmulWork work{.m = numbers_along(a, -2),
                         .n = numbers_along(b, -1),
                         .k = numbers_along(a, -1),
                         .a = product_format(a, mx),
                         .b = product_format(b, mx),
                         .out = aten::format_of(out),
                         .a_transposed = is_transposed(a.codes),
                         .b_transposed = is_transposed(b.codes)};
  // A right operand without a batch makes one tall product.
  const std::int64_t rows = aten::ratio(out.numel(), work.n);
  const bool one_right = b.codes.numel() == b.codes.size(-2) * b.codes.size(-1);
  if (one_right) {
    work.m = rows;
  } else {
    work.batch = aten::ratio(rows, work.m);
  }
  return with_reads(work, call, beside);
}

}  // namespace npu_sim::ops
