// Which tensors a finished call read and wrote, and how many bytes each really holds.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "aten/describe/call.h"
#include "aten/describe/format_of.h"

namespace npu_sim::aten {

// Bytes the tensor's elements occupy: an axis expanded with stride 0 counts once; a sparse or
// nested tensor counts its values and indices; an undefined tensor is empty.
[[nodiscard]] base::Bytes bytes_of(const at::Tensor& tensor);

// Elements of a tensor, 0 for an undefined one.
[[nodiscard]] inline std::int64_t elements_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() : 0;
}

struct Traffic {
  base::Bytes read{};
  base::Bytes written{};
  std::int64_t elements = 0;  // of the largest result, or of the largest operand without results
  base::Format compute = base::Format::kFp32;  // widest floating operand, else widest integer
  int converts = 0;                            // operands whose format is not `compute`
};

// Everything in the call: inputs read, results and mutated arguments written. An operand that
// comes twice is read once; an out= argument is written only; an in-place one is both.
[[nodiscard]] Traffic traffic_of(const Call& call);

// The tensor that the call made or changed: result 0, or the mutated first argument of a call
// that returns nothing. The first tensor of a list where it is a list.
[[nodiscard]] const at::Tensor& output_of(const Call& call);

// The tensor at `index`: of a list, its first; undefined for None, a number, or no such argument.
[[nodiscard]] const at::Tensor& tensor_at(const Call& call, std::size_t index);

// The integer at `index`, or `fallback` for None, another type, or no such argument.
[[nodiscard]] std::int64_t integer_at(const Call& call, std::size_t index, std::int64_t fallback);

// The boolean at `index`, or `fallback`.
[[nodiscard]] bool boolean_at(const Call& call, std::size_t index, bool fallback);

// Size of `tensor` along `dim` (negative counts from the end); 1 for a 0-dim tensor, and
// for a `dim` out of range.
[[nodiscard]] std::int64_t size_along(const at::Tensor& tensor, std::int64_t dim);

// Product of the sizes after `dim`: elements of the contiguous piece that one index selects.
[[nodiscard]] std::int64_t slice_after(const at::Tensor& tensor, std::int64_t dim);

// a / b, and 0 for b = 0.
[[nodiscard]] constexpr std::int64_t ratio(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b;
}

// A count of vector instructions as Work holds it; sums beyond its range saturate.
[[nodiscard]] constexpr std::int16_t instructions(std::int64_t count) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int16_t>::max();
  return static_cast<std::int16_t>(count > kMost ? kMost : count);
}

}  // namespace npu_sim::aten
