#include "ops/format/coded.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <span>
#include <vector>

#include "compute/format/e8m0.h"
#include "ops/format/element_of.h"

namespace npu_sim::ops {
namespace {

using compute::Element;

constexpr std::int64_t kGrain =
    1 << 14;  // values a thread takes at once; even, so pairs stay whole

std::span<std::uint8_t> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::uint8_t*>(tensor.data_ptr()), tensor.nbytes()};
}

std::vector<std::int64_t> resized(const at::Tensor& tensor, std::int64_t axis, std::int64_t size) {
  std::vector<std::int64_t> sizes = tensor.sizes().vec();
  sizes.at(static_cast<std::size_t>(axis)) = size;
  return sizes;
}

// Whether the last two axes are a transposed view, as op-plugin tells one: of a matrix of one row
// or column, too.
bool is_swapped(const at::Tensor& tensor) {
  const std::int64_t rows = tensor.size(-2);
  const bool single = rows == 1 && tensor.size(-1) == 1;
  return tensor.stride(-2) == 1 && tensor.stride(-1) == rows && !single;
}

void encode_into(std::span<const float> values, Element element, compute::Rounding rounding,
                 std::span<std::uint8_t> out, bool packed) {
  if (!packed) return compute::encode_all(values, element, rounding, out);
  std::vector<std::uint8_t> codes(values.size());
  compute::encode_all(values, element, rounding, codes);
  compute::pack_nibbles(codes, out);
}

void decode_into(std::span<const std::uint8_t> codes, Element element, bool packed,
                 std::span<float> values) {
  if (!packed) return compute::decode_all(codes, element, values);
  std::vector<std::uint8_t> wide(values.size());
  compute::unpack_nibbles(codes, wide);
  compute::decode_all(wide, element, values);
}

}  // namespace

std::int64_t codes_per_item(Element element, at::ScalarType carrier) {
  if (compute::bits(element) != 4) return 1;
  return static_cast<std::int64_t>(c10::elementSize(carrier)) * 2;
}

std::int64_t packed_axis(const at::Tensor& codes) {
  const std::int64_t last = codes.dim() - 1;
  if (last > 0 && is_swapped(codes)) return last - 1;
  if (last < 0 || codes.stride(last) == 1) return last;
  for (std::int64_t axis = last - 1; axis >= 0; --axis) {
    if (codes.stride(axis) == 1 && codes.size(axis) != 1) return axis;
  }
  return last;
}

at::Tensor encoded(const char* op, const at::Tensor& values, Element element,
                   compute::Rounding rounding) {
  return encoded_in(op, values, element, rounding, carrier(element));
}

at::Tensor encoded_in(const char* op, const at::Tensor& values, Element element,
                      compute::Rounding rounding, at::ScalarType dtype) {
  const std::int64_t packing = codes_per_item(element, dtype);
  const std::int64_t columns = values.dim() == 0 ? 1 : values.size(-1);
  TORCH_CHECK_VALUE(columns % packing == 0, op, ": expected a last axis divisible by ", packing,
                    ", which are packed together, got ", columns);
  const std::vector<std::int64_t> sizes =
      packing == 1 ? values.sizes().vec() : resized(values, values.dim() - 1, columns / packing);
  at::Tensor codes = at::empty(sizes, values.options().dtype(dtype));
  if (values.is_meta() || values.numel() == 0) return codes;
  const at::Tensor wide = values.to(at::kFloat).contiguous();
  const std::span<const float> from(wide.const_data_ptr<float>(),
                                    static_cast<std::size_t>(wide.numel()));
  const std::span<std::uint8_t> to = bytes_of(codes);
  const bool packed = packing > 1;
  at::parallel_for(0, wide.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    // Threads may split anywhere; a pair belongs to who has its first half.
    const auto first = static_cast<std::size_t>(packed ? begin + begin % 2 : begin);
    const auto last = static_cast<std::size_t>(packed ? end + end % 2 : end);
    encode_into(
        from.subspan(first, last - first), element, rounding,
        packed ? to.subspan(first / 2, (last - first) / 2) : to.subspan(first, last - first),
        packed);
  });
  return codes;
}

at::Tensor decoded(const at::Tensor& codes, Element element) {
  const std::int64_t packing = codes_per_item(element, codes.scalar_type());
  const std::int64_t axis = packed_axis(codes);
  // Unpacked with the innermost axis last, then turned back.
  const at::Tensor turned =
      packing == 1 ? codes : codes.transpose(axis, codes.dim() - 1).contiguous();
  const std::vector<std::int64_t> sizes =
      packing == 1 ? codes.sizes().vec()
                   : resized(turned, turned.dim() - 1, turned.size(-1) * packing);
  at::Tensor values = at::empty(sizes, codes.options().dtype(at::kFloat));
  if (!codes.is_meta() && codes.numel() != 0) {
    const at::Tensor dense = turned.contiguous();
    const std::span<const std::uint8_t> from = bytes_of(dense);
    const std::span<float> to(values.mutable_data_ptr<float>(),
                              static_cast<std::size_t>(values.numel()));
    const std::size_t each = packing > 1 ? 2 : 1;  // values a byte
    at::parallel_for(0, static_cast<std::int64_t>(from.size()), kGrain,
                     [&](std::int64_t begin, std::int64_t end) {
                       const auto first = static_cast<std::size_t>(begin);
                       const auto count = static_cast<std::size_t>(end) - first;
                       decode_into(from.subspan(first, count), element, each == 2,
                                   to.subspan(first * each, count * each));
                     });
  }
  return packing == 1 ? values : values.transpose(axis, values.dim() - 1);
}

at::Tensor decoded_e8m0(const at::Tensor& codes) {
  at::Tensor values = at::empty(codes.sizes(), codes.options().dtype(at::kFloat));
  if (codes.is_meta() || codes.numel() == 0) return values;
  const at::Tensor dense = codes.contiguous();
  const std::span<const std::uint8_t> from = bytes_of(dense);
  float* const to = values.mutable_data_ptr<float>();
  std::ranges::transform(from, to, compute::decode_e8m0);
  return values;
}

}  // namespace npu_sim::ops
