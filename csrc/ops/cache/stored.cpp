#include "ops/cache/stored.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include "ops/format/coded.h"
#include "ops/optional_tensor.h"
#include "ops/precision.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

// The narrow format of a cache; nullopt for a float one.
std::optional<compute::Element> format_in(const at::Tensor& cache,
                                          const Quantisation& quantisation) {
  const std::optional<compute::Element> told =
      quantisation.dtype.has_value() ? element_of(*quantisation.dtype) : std::nullopt;
  if (told.has_value()) return told;
  const at::ScalarType dtype = cache.scalar_type();
  if (dtype == at::kInt || dtype == at::kByte) return std::nullopt;
  return element_of(cache, std::nullopt);
}

}  // namespace

void check_quantisation(ArgumentName name, const at::Tensor& cache,
                        const Quantisation& quantisation, std::int64_t width) {
  const std::optional<compute::Element> element = format_in(cache, quantisation);
  const at::ScalarType dtype = cache.scalar_type();
  const bool wide = dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
  TORCH_CHECK_TYPE(
      element.has_value() ? compute::bits(*element) == 8 && cache.element_size() == 1 : wide,
      name.op, ": expected a cache of float32, float16, bfloat16, int8, ",
      "float8_e4m3fn, float8_e5m2 or (as uint8 with its dtype) hifloat8, got ", dtype);
  TORCH_CHECK_VALUE(element.has_value() == given(quantisation.scale), name.op, ": expected ",
                    element.has_value() ? "" : "no ", name.argument, " for a cache of ", dtype,
                    ", got ", given(quantisation.scale) ? "one" : "None");
  for (const std::optional<at::Tensor>& x : {quantisation.scale, quantisation.offset}) {
    if (!given(x)) continue;
    const bool fits = x->numel() == 1 || (x->dim() >= 1 && x->size(-1) == width);
    TORCH_CHECK_VALUE(fits, name.op, ": expected ", name.argument, " (and its offset) of [", width,
                      "], got ", x->sizes());
  }
}

at::Tensor stored(ArgumentName name, const at::Tensor& values, const at::Tensor& cache,
                  const Quantisation& quantisation) {
  const std::optional<compute::Element> element = format_in(cache, quantisation);
  if (!element.has_value()) return values.to(cache.scalar_type()).contiguous();
  const at::Tensor scale = widened(*quantisation.scale);
  at::Tensor scaled = quantisation.divides ? values / scale : values * scale;
  if (given(quantisation.offset)) scaled = scaled + widened(*quantisation.offset);
  return encoded(name.op, scaled, *element, cast_rounding(*element)).contiguous();
}

}  // namespace npu_sim::ops
