#include "aten/describe/work_of.h"

#include <algorithm>

#include "aten/describe/layout.h"

namespace npu_sim::aten::work_of {
namespace {

using base::Bytes;

// [..., rows, columns] whose columns, not rows, are the contiguous axis.
bool is_transposed(const at::Tensor& matrix) {
  if (matrix.dim() < 2 || matrix.layout() != c10::kStrided) return false;
  return matrix.stride(-2) == 1 && matrix.stride(-1) > 1;
}

bool is_broadcast_over_batch(const at::Tensor& tensor) {
  if (tensor.layout() != c10::kStrided) return false;
  for (std::int64_t axis = 0; axis + 2 < tensor.dim(); ++axis) {
    if (tensor.size(axis) > 1 && tensor.stride(axis) != 0) return false;
  }
  return true;
}

// A meta tensor stands for one on the card: shapes alone are described before there are any bytes.
bool is_npu(const at::Tensor& tensor) {
  return tensor.device().is_privateuseone() || tensor.is_meta();
}

model::CopyRoute route_between(const at::Tensor& dst, const at::Tensor& src) {
  if (is_npu(dst) && is_npu(src)) {
    return dst.device() == src.device() ? model::CopyRoute::kWithinDevice : model::CopyRoute::kPeer;
  }
  return is_npu(dst) ? model::CopyRoute::kHostToDevice : model::CopyRoute::kDeviceToHost;
}

}  // namespace

model::Work pointwise(const at::Tensor& out, std::initializer_list<const at::Tensor*> inputs,
                      int linear, int special) {
  model::VectorWork work;
  work.elements = out.numel();
  work.written = bytes_of(out);
  c10::ScalarType widest = out.scalar_type();
  bool mixed = false;
  for (auto it = inputs.begin(); it != inputs.end(); ++it) {
    const at::Tensor* const input = *it;
    if (!input->defined()) continue;
    const bool again = std::any_of(
        inputs.begin(), it, [&](const at::Tensor* earlier) { return earlier->is_same(*input); });
    if (!again) work.read += bytes_of(*input);  // x + x reads x once
    const c10::ScalarType dtype = input->scalar_type();
    if (dtype == widest || input->dim() == 0) continue;
    mixed = true;
    // A comparison answers bool or computes in its operands' dtype; else the wider one rules.
    if (widest == c10::ScalarType::Bool || c10::elementSize(dtype) > c10::elementSize(widest)) {
      widest = dtype;
    }
  }
  work.compute = format_of(widest);
  work.linear_ops = instructions(linear + (mixed ? 1 : 0));
  work.special_ops = instructions(special);
  return work;
}

model::Work matmul(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out,
                   bool adds_input) {
  model::MatmulWork work;
  work.k = size_along(a, -1);
  work.m = a.dim() < 2 ? 1 : a.size(-2);
  work.n = b.dim() < 2 ? 1 : b.size(-1);
  if (b.dim() <= 2) {
    work.m = work.k == 0 ? ratio(out.numel(), work.n) : a.numel() / work.k;
  } else {
    work.batch = ratio(out.numel(), work.m * work.n);
    work.b_shared = work.batch > 1 && is_broadcast_over_batch(b);
  }
  work.a = format_of(a);
  work.b = format_of(b);
  work.out = format_of(out);
  work.a_transposed = is_transposed(a);
  work.b_transposed = is_transposed(b);
  work.adds_input = adds_input;
  return work;
}

model::Work linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& out,
                   bool adds_bias) {
  model::MatmulWork work;
  work.k = size_along(input, -1);
  work.n = weight.dim() < 2 ? 1 : weight.size(0);
  work.m = ratio(out.numel(), work.n);
  work.a = format_of(input);
  work.b = format_of(weight);
  work.out = format_of(out);
  work.a_transposed = input.dim() == 2 && is_transposed(input);
  work.b_transposed = !is_transposed(weight);
  work.adds_input = adds_bias;
  return work;
}

model::Work copy(const at::Tensor& dst, const at::Tensor& src) {
  const model::CopyRoute route = route_between(dst, src);
  const bool converts = dst.scalar_type() != src.scalar_type();
  if (converts && route == model::CopyRoute::kWithinDevice) return pointwise(dst, {&src}, 0, 0);
  return model::CopyWork{.route = route,
                         .read = bytes_of(src),
                         .written = bytes_of(dst),
                         .run = copy_run(dst, src),
                         .transposed = transposed_element(dst, src)};
}

model::Work fill(const at::Tensor& out) { return pointwise(out, {}, 1, 0); }

model::Work rows(const at::Tensor& input, const at::Tensor& out, std::int64_t columns,
                 const VectorCost& cost) {
  return model::RowWork{.rows = ratio(input.numel(), columns),
                        .columns = columns,
                        .read = bytes_of(input),
                        .written = bytes_of(out),
                        .compute = format_of(input),
                        .linear_ops = instructions(cost.linear),
                        .special_ops = instructions(cost.special),
                        .reductions = instructions(cost.reductions),
                        .passes = instructions(cost.passes)};
}

model::Work softmax(const at::Tensor& input, const at::Tensor& out, std::int64_t dim) {
  // max, subtract, exp, sum, divide; a long row keeps a running maximum and sum, then writes.
  return rows(input, out, size_along(input, dim),
              {.linear = 4, .special = 2, .reductions = 2, .passes = 2});
}

model::Work layer_norm(const at::Tensor& input, const at::Tensor& out, std::int64_t columns) {
  // sum, subtract, square, sum, scale, weight, bias, each with its load, in two sweeps.
  return rows(input, out, columns, {.linear = 14, .special = 0, .reductions = 2, .passes = 2});
}

model::Work reduce(const at::Tensor& input, const at::Tensor& out, const VectorCost& cost) {
  return rows(input, out, std::max<std::int64_t>(ratio(input.numel(), out.numel()), 1), cost);
}

model::Work gather(const at::Tensor& out, const at::Tensor& index, std::int64_t slice,
                   const at::Tensor& table) {
  const std::int64_t width = std::max<std::int64_t>(slice, 1);
  const Bytes written = bytes_of(out);
  return model::GatherWork{.items = out.numel() / width,
                           .item = Bytes(width * static_cast<std::int64_t>(out.element_size())),
                           .index = bytes_of(index),
                           .written = written,
                           .read = written,
                           .table = bytes_of(table)};
}

model::Work concatenate(const at::Tensor& out, at::ArrayRef<at::Tensor> parts, std::int64_t dim) {
  model::CopyWork work{.written = bytes_of(out), .run = contiguous_run(out)};
  const std::int64_t slice = slice_after(out, dim) * static_cast<std::int64_t>(out.element_size());
  for (const at::Tensor& part : parts) {
    if (!part.defined() || part.numel() == 0) continue;
    work.read += bytes_of(part);
    const Bytes piece(part.dim() == out.dim() ? size_along(part, dim) * slice : slice);
    work.run = std::min({work.run, contiguous_run(part), piece});
  }
  return work;
}

}  // namespace npu_sim::aten::work_of
