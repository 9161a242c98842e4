// Values in the dtype that a cache stores: rounded once, or quantised by scale and offset.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "ops/format/element_of.h"

namespace npu_sim::ops {

// q = values * scale + offset, or values / scale + offset where `divides`.
struct Quantisation {
  std::optional<at::Tensor> scale;
  std::optional<at::Tensor> offset;
  std::optional<std::int64_t> dtype;  // what the cache's bytes mean, where its dtype does not say
  bool divides = false;
};

// Raises TypeError or ValueError, as by `scale_name`, unless the cache's dtype and the scale agree:
// a narrow cache needs a scale of `width` elements (or of one), a float cache takes none.
void check_quantisation(ArgumentName scale_name, const at::Tensor& cache,
                        const Quantisation& quantisation, std::int64_t width);

// `values` (fp32) contiguous in the dtype of `cache`, as many bytes as values of it. Integers and
// fp8 round to nearest even, HiFloat8 away from zero; all saturate.
[[nodiscard]] at::Tensor stored(ArgumentName cache_name, const at::Tensor& values,
                                const at::Tensor& cache, const Quantisation& quantisation);

}  // namespace npu_sim::ops
