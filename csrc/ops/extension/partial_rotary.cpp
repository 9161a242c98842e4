// inplace_partial_rotary_mul and partial_rotary_mul_quant: rotary position embedding of a slice of
// the last axis. Source: cann-recipes-infer@fbc225d, ops/ascendc/docs and examples.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/extension/npu_operator.h"
#include "ops/extension/registration.h"
#include "ops/format/coded.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

// --- work: as npu_rotary_mul, of the slice alone; or of everything, with a scale and a cast.
model::Work slice_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const at::Tensor& angles = call.argument(1);
  const std::int64_t width = aten::size_along(angles, -1);
  const std::int64_t elements = aten::ratio(aten::elements_of(x), aten::size_along(x, -1)) * width;
  const base::Bytes bytes{elements * static_cast<std::int64_t>(x.element_size())};
  return model::VectorWork{
      .elements = elements,
      .read = bytes + aten::bytes_of(angles) + aten::bytes_of(call.argument(2)),
      .written = bytes,
      .linear_ops = x.scalar_type() == at::kFloat ? std::int16_t{5} : std::int16_t{7}};
}
constexpr aten::Entry kEntries[] = {
    {"custom::inplace_partial_rotary_mul", slice_work},
    {"custom::partial_rotary_mul_quant", aten::elements<7>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
struct Rotated {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& cos;
  const at::Tensor& sin;
  std::string_view mode;
  at::IntArrayRef slice;
};

void check(const Rotated& on) {
  constexpr std::int64_t kWidest = 1024;
  TORCH_CHECK_VALUE(on.x.dim() == 4, on.op, ": expected x of [batch, tokens, heads, width], got ",
                    on.x.sizes());
  TORCH_CHECK_TYPE(on.x.is_floating_point() && on.x.scalar_type() != at::kDouble, on.op,
                   ": expected x of bfloat16, float16 or float32, got ", on.x.scalar_type());
  TORCH_CHECK_TYPE(on.cos.is_floating_point() && on.cos.scalar_type() == on.sin.scalar_type(),
                   on.op, ": expected r1 and r2 of one floating dtype, got ", on.cos.scalar_type(),
                   " and ", on.sin.scalar_type());
  const std::int64_t width = on.x.size(-1);
  TORCH_CHECK_VALUE(width <= kWidest && width % 2 == 0, on.op, ": expected x of an even width up ",
                    "to ", kWidest, ", got ", on.x.sizes());
  TORCH_CHECK_VALUE(on.slice.size() == 2 && on.slice[0] >= 0 && on.slice[0] < on.slice[1] &&
                        on.slice[1] <= width && (on.slice[1] - on.slice[0]) % 2 == 0,
                    on.op, ": expected partial_slice [first, last) of an even width within ", width,
                    ", got ", on.slice);
  const std::int64_t turned = on.slice[1] - on.slice[0];
  TORCH_CHECK_VALUE(
      on.cos.sizes() == on.sin.sizes() && on.cos.dim() == 4 && on.cos.size(-1) == turned, on.op,
      ": expected r1 and r2 of 4 axes, the last of ", turned, ", got ", on.cos.sizes(), " and ",
      on.sin.sizes());
  for (std::int64_t axis = 0; axis < 3; ++axis) {
    TORCH_CHECK_VALUE(on.cos.size(axis) == on.x.size(axis) || on.cos.size(axis) == 1, on.op,
                      ": expected r1 and r2 that broadcast to x ", on.x.sizes(), ", got ",
                      on.cos.sizes());
  }
}

// The slice in fp32, rotated.
at::Tensor turned_slice(const Rotated& on) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               c10::string_view, const std::optional<at::Tensor>&);
  static const auto rotary_mul = npu_operator<Signature>("npu::npu_rotary_mul");
  const at::Tensor part = on.x.narrow(-1, on.slice[0], on.slice[1] - on.slice[0]);
  return rotary_mul.call(widened(part), on.cos, on.sin, on.mode, std::nullopt);
}

void inplace_partial_rotary_mul(const at::Tensor& x, const at::Tensor& r1, const at::Tensor& r2,
                                c10::string_view rotary_mode, at::IntArrayRef partial_slice) {
  const Rotated on{"inplace_partial_rotary_mul", x, r1, r2, rotary_mode, partial_slice};
  TORCH_CHECK_VALUE(rotary_mode == "interleave", on.op,
                    ": expected rotary_mode 'interleave', the only one of the card, got '",
                    rotary_mode, "'");
  check(on);
  x.narrow(-1, partial_slice[0], partial_slice[1] - partial_slice[0]).copy_(turned_slice(on));
}

// HiFloat8 codes of x times `scale`, the slice rotated first.
at::Tensor partial_rotary_mul_quant(const at::Tensor& x, const at::Tensor& r1, const at::Tensor& r2,
                                    c10::string_view rotary_mode, at::IntArrayRef partial_slice,
                                    double scale) {
  const Rotated on{"partial_rotary_mul_quant", x, r1, r2, rotary_mode, partial_slice};
  TORCH_CHECK_VALUE(rotary_mode == "interleave" || rotary_mode == "half", on.op,
                    ": expected rotary_mode 'interleave' or 'half', got '", rotary_mode, "'");
  check(on);
  const at::Tensor wide = widened(x);
  const at::Tensor y = at::cat({wide.narrow(-1, 0, partial_slice[0]), turned_slice(on),
                                wide.narrow(-1, partial_slice[1], x.size(-1) - partial_slice[1])},
                               -1);
  constexpr compute::Element kElement = compute::Element::kHifloat8;
  return encoded(on.op, y * scale, kElement, cast_rounding(kElement));
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&inplace_partial_rotary_mul>(m, "inplace_partial_rotary_mul");
  composed_kernel<&partial_rotary_mul_quant>(m, "partial_rotary_mul_quant");
});

}  // namespace
}  // namespace npu_sim::ops
