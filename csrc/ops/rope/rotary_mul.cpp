// Rotary position embedding: x cos + rotate(x) sin, and the kernels around it.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>

#include <string_view>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: two products, a sum, and the rotation as a negation and a shuffle within registers.
constexpr aten::Entry kEntries[] = {
    {"npu_rotary_mul", aten::elements<5>},
    {"npu_rotary_mul_backward", aten::elements<12>},
    {"npu_interleave_rope", aten::elements<6>},
    {"npu_apply_rotary_pos_emb", aten::elements<5>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
enum class Rotation : std::uint8_t { kHalf, kQuarter, kInterleave };

Rotation rotation_of(const char* op, std::string_view mode) {
  if (mode == "half") return Rotation::kHalf;
  if (mode == "quarter") return Rotation::kQuarter;
  TORCH_CHECK_VALUE(mode == "interleave", op,
                    ": expected rotary_mode 'half', 'quarter' or 'interleave', got '", mode, "'");
  return Rotation::kInterleave;
}

void check_width(const char* op, const at::Tensor& x, Rotation rotation) {
  const std::int64_t parts = rotation == Rotation::kQuarter ? 4 : 2;
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.size(-1) % parts == 0, op,
                    ": expected a last axis divisible by ", parts, ", got ", x.sizes());
}

// Halves (x1, x2) -> (-x2, x1); quarters: so each half; pairs (x0, x1) -> (-x1, x0).
at::Tensor rotated(const at::Tensor& x, Rotation rotation) {
  if (rotation == Rotation::kInterleave) {
    const at::Tensor pairs = x.unflatten(-1, {-1, 2});
    return at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
  }
  const auto parts = x.chunk(rotation == Rotation::kHalf ? 2 : 4, -1);
  if (rotation == Rotation::kHalf) return at::cat({-parts[1], parts[0]}, -1);
  return at::cat({-parts[1], parts[0], -parts[3], parts[2]}, -1);
}

at::Tensor rotary_mul(const at::Tensor& input, const at::Tensor& r1, const at::Tensor& r2,
                      c10::string_view rotary_mode, const std::optional<at::Tensor>& rotate) {
  const Rotation rotation = rotation_of("npu_rotary_mul", rotary_mode);
  check_width("npu_rotary_mul", input, rotation);
  const at::Tensor x = widened(input);
  const at::Tensor turned = given(rotate) ? at::matmul(x, widened(*rotate)) : rotated(x, rotation);
  const at::Tensor y = x * widened(r1) + turned * widened(r2);
  TORCH_CHECK_VALUE(y.sizes() == input.sizes(),
                    "npu_rotary_mul: expected r1 and r2 that broadcast ", "to input ",
                    input.sizes(), ", got ", r1.sizes(), " and ", r2.sizes());
  return y.to(input.scalar_type());
}

// The rotation is orthogonal and its square is -1, so its transpose is its negative.
std::tuple<at::Tensor, at::Tensor, at::Tensor> rotary_mul_backward(const at::Tensor& grad,
                                                                   const at::Tensor& input,
                                                                   const at::Tensor& r1,
                                                                   const at::Tensor& r2,
                                                                   c10::string_view rotary_mode) {
  const Rotation rotation = rotation_of("npu_rotary_mul_backward", rotary_mode);
  check_width("npu_rotary_mul_backward", input, rotation);
  const at::Tensor g = widened(grad);
  const at::Tensor x = widened(input);
  const at::Tensor dx = g * widened(r1) - rotated(g * widened(r2), rotation);
  const at::Tensor dr1 = (g * x).sum_to_size(r1.sizes());
  const at::Tensor dr2 = (g * rotated(x, rotation)).sum_to_size(r2.sizes());
  return {dx.to(input.scalar_type()), dr1.to(r1.scalar_type()), dr2.to(r2.scalar_type())};
}

// x holds pairs; the result holds halves.
at::Tensor interleave_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  TORCH_CHECK_VALUE(x.dim() == 4 && x.size(-1) == 64,
                    "npu_interleave_rope: expected x of [batch, heads, tokens, 64], got ",
                    x.sizes());
  const at::Tensor halves = widened(x).unflatten(-1, {-1, 2}).transpose(-1, -2).flatten(-2);
  const at::Tensor y = halves * widened(cos) + rotated(halves, Rotation::kHalf) * widened(sin);
  TORCH_CHECK_VALUE(y.sizes() == x.sizes(), "npu_interleave_rope: expected cos and sin that ",
                    "broadcast to x ", x.sizes(), ", got ", cos.sizes(), " and ", sin.sizes());
  return y.to(x.scalar_type());
}

// Writes query and key, and returns them: torch_npu does so although its schema does not say it.
std::tuple<at::Tensor, at::Tensor> apply_rotary_pos_emb(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& cos, const at::Tensor& sin,
    c10::string_view layout, c10::string_view rotary_mode) {
  constexpr const char* kOp = "npu_apply_rotary_pos_emb";
  const bool known = layout == "BSND" || layout == "BSH" || layout == "SBND" || layout == "BNSD" ||
                     layout == "TND";
  TORCH_CHECK_VALUE(known, kOp, ": expected layout BSND, BSH, SBND, BNSD or TND, got ", layout);
  const Rotation rotation = rotation_of(kOp, rotary_mode);
  for (const at::Tensor* const x : {&query, &key}) {
    TORCH_CHECK_VALUE(x->dim() == (layout == "TND" ? 3 : 4), kOp, ": expected ",
                      layout == "TND" ? 3 : 4, " axes in layout ", layout, ", got ", x->sizes());
    check_width(kOp, *x, rotation);
    const at::Tensor wide = widened(*x);
    const at::Tensor y = wide * widened(cos) + rotated(wide, rotation) * widened(sin);
    TORCH_CHECK_VALUE(y.sizes() == x->sizes(), kOp, ": expected cos and sin that broadcast to ",
                      x->sizes(), ", got ", cos.sizes(), " and ", sin.sizes());
    x->copy_(y);
  }
  return {query, key};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&rotary_mul>(m, "npu_rotary_mul");
  composed_kernel<&rotary_mul_backward>(m, "npu_rotary_mul_backward");
  derivative(m, "npu_rotary_mul",
             "input, r1, r2: npu_rotary_mul_backward(grad, input, r1, r2, rotary_mode)");
  composed_kernel<&interleave_rope>(m, "npu_interleave_rope");
  composed_kernel<&apply_rotary_pos_emb>(m, "npu_apply_rotary_pos_emb");
}

}  // namespace
}  // namespace npu_sim::ops
