// Rows of fp32 scores and operands: what attention does with them besides products.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace npu_sim::ops::flash {

// Score rows are padded to whole groups of lanes; what is padded never counts.
constexpr std::int64_t kLanes = 8;

[[nodiscard]] constexpr std::int64_t padded(std::int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

// Whether widen and narrow know `dtype`: float32, bfloat16, float16.
[[nodiscard]] bool is_row_dtype(c10::ScalarType dtype);

// `count` elements of `dtype` to fp32, exactly.
void widen(const void* from, c10::ScalarType dtype, std::int64_t count, float* to);

// `count` fp32 elements, multiplied by `factor`, rounded once to nearest even.
void narrow(const float* from, float factor, std::int64_t count, c10::ScalarType dtype, void* to);

// The functions below take a row of `count` elements in a space of padded(count).

// Fills the padding with -infinity.
void pad(float* row, std::int64_t count);

// -infinity where `hidden` is not 0.
void hide(float* row, const std::uint8_t* hidden, std::int64_t count);

// row += factor * added.
void add(float* row, const float* added, float factor, std::int64_t count);

// row *= factor.
void scale(float* row, float factor, std::int64_t count);

// The greatest element of a padded row; NaN never counts.
[[nodiscard]] float greatest(const float* row, std::int64_t count);

// Turns a padded row into exp(row - base) and returns the sum. Below 2^-126 it is 0.
float raise(float* row, float base, std::int64_t count);

// The sum of the products of two rows.
[[nodiscard]] float dot(const float* a, const float* b, std::int64_t count);

// p * (dp - delta) of a padded row of p, into dp.
void softmax_gradient(const float* p, float* dp, float delta, std::int64_t count);

}  // namespace npu_sim::ops::flash
