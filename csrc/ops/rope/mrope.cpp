// npu_mrope: rotary embedding of queries and keys by positions in a cache of cosines and sines,
// whose sections may follow different positions (text, height, width).
//
// positions [T] or [sections, T]; query and key [T, heads head_size]; cos_sin_cache [length,
// rotary], cosines in its first half. cache_mode 'default' takes mrope_section[i] angles from
// positions[i]; 'interleave' takes angles 1, 4, 7 ... of section 1 and 2, 5, 8 ... of section 2 up
// to three times mrope_section[1], as the card's kernel does. Source: op-plugin@517f2e7d, docs and
// test_npu_mrope.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <string_view>

#include "aten/describe/operands.h"
#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: queries and keys streamed once; of the cache only the rows of the positions are read.
model::Work work(const aten::Call& call) {
  const at::Tensor& positions = call.argument(0);
  const at::Tensor& query = call.argument(1);
  const at::Tensor& key = call.argument(2);
  const at::Tensor& cache = call.argument(3);
  const base::Bytes data = aten::bytes_of(query) + aten::bytes_of(key);
  const base::Bytes angles(positions.numel() * aten::size_along(cache, -1) *
                           static_cast<std::int64_t>(cache.element_size()));
  return model::VectorWork{.elements = query.numel() + key.numel(),
                           .read = data + angles + aten::bytes_of(positions),
                           .written = data,
                           .compute = aten::format_of(query),
                           .linear_ops = 6};
}
constexpr aten::Entry kEntries[] = {{"npu_mrope", work}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
constexpr const char* kOp = "npu_mrope";

struct Rotary {
  const at::Tensor& positions;
  const at::Tensor& cache;
  std::vector<std::int64_t> sections;
  std::int64_t head_size;
  bool interleaved;  // pairs lie side by side
  bool sections_interleave;
  [[nodiscard]] std::int64_t half() const { return cache.size(1) / 2; }
  [[nodiscard]] std::int64_t tokens() const { return positions.size(-1); }
};

void check(const Rotary& rotary, const at::Tensor& query, const at::Tensor& key) {
  TORCH_CHECK_VALUE(rotary.positions.dim() == 1 || rotary.positions.dim() == 2, kOp,
                    ": expected positions of [tokens] or [sections, tokens], got ",
                    rotary.positions.sizes());
  TORCH_CHECK_TYPE(
      rotary.positions.scalar_type() == at::kInt || rotary.positions.scalar_type() == at::kLong,
      kOp, ": expected positions of int32 or int64, got ", rotary.positions.scalar_type());
  TORCH_CHECK_VALUE(rotary.cache.dim() == 2 && rotary.cache.size(1) % 2 == 0 &&
                        rotary.cache.size(1) <= rotary.head_size,
                    kOp, ": expected cos_sin_cache of [length, an even width up to head_size ",
                    rotary.head_size, "], got ", rotary.cache.sizes());
  for (const at::Tensor* const x : {&query, &key}) {
    TORCH_CHECK_VALUE(
        x->dim() == 2 && x->size(0) == rotary.tokens() && x->size(1) % rotary.head_size == 0, kOp,
        ": expected query and key of [", rotary.tokens(), ", heads x head_size ", rotary.head_size,
        "], got ", x->sizes());
    TORCH_CHECK_TYPE(x->is_floating_point(), kOp, ": expected query and key of a float dtype, got ",
                     x->scalar_type());
  }
  if (rotary.positions.dim() == 1) return;
  TORCH_CHECK_VALUE(
      std::ssize(rotary.sections) == rotary.positions.size(0) && rotary.sections.size() >= 3, kOp,
      ": expected mrope_section of ", rotary.positions.size(0),
      " (3 or 4) numbers, one a row of positions, got ", rotary.sections.size());
  std::int64_t all = 0;
  for (const std::int64_t section : rotary.sections) {
    TORCH_CHECK_VALUE(section >= 0, kOp, ": expected mrope_section that is not negative, got ",
                      section);
    all += section;
  }
  TORCH_CHECK_VALUE(rotary.sections_interleave || all == rotary.half(), kOp,
                    ": expected mrope_section that sums to ", rotary.half(),
                    ", half the width of cos_sin_cache, got ", all);
}

// --- compute
// [tokens, half] of angles [sections, tokens, half].
at::Tensor by_section(const Rotary& rotary, const at::Tensor& angles) {
  if (!rotary.sections_interleave) {
    std::vector<at::Tensor> parts;
    std::int64_t first = 0;
    for (std::size_t i = 0; i < rotary.sections.size(); ++i) {
      parts.push_back(angles[static_cast<std::int64_t>(i)].narrow(-1, first, rotary.sections[i]));
      first += rotary.sections[i];
    }
    return at::cat(parts, -1);
  }
  const at::Tensor mixed = angles[0].clone();
  const std::int64_t end = std::min(rotary.sections[1] * 3, rotary.half());
  for (const std::int64_t section : {1, 2}) {
    if (section >= end) continue;
    mixed.slice(-1, section, end, 3).copy_(angles[section].slice(-1, section, end, 3));
  }
  return mixed;
}

// Cosines, then sines of each token: [tokens, 2 half].
at::Tensor angles_of(const Rotary& rotary) {
  const at::Tensor flat = rotary.positions.flatten().to(at::kLong);
  const std::int64_t length = rotary.cache.size(0);
  TORCH_CHECK_INDEX(flat.numel() == 0 || (flat.min().item<std::int64_t>() >= 0 &&
                                          flat.max().item<std::int64_t>() < length),
                    kOp, ": expected positions in [0, ", length, ")");
  at::Tensor rows = widened(rotary.cache.index_select(0, flat));
  if (rotary.positions.dim() == 1) return rows;
  const at::Tensor angles =
      rows.view({rotary.positions.size(0), rotary.tokens(), 2 * rotary.half()});
  return at::cat({by_section(rotary, angles.narrow(-1, 0, rotary.half())),
                  by_section(rotary, angles.narrow(-1, rotary.half(), rotary.half()))},
                 -1);
}

at::Tensor rotated(const Rotary& rotary, const at::Tensor& x, const at::Tensor& cos,
                   const at::Tensor& sin) {
  const at::Tensor heads =
      widened(x).unflatten(-1, {x.size(-1) / rotary.head_size, rotary.head_size});
  const at::Tensor turned = heads.narrow(-1, 0, 2 * rotary.half());
  const at::Tensor first = rotary.interleaved ? turned.slice(-1, 0, std::nullopt, 2)
                                              : turned.narrow(-1, 0, rotary.half());
  const at::Tensor second = rotary.interleaved ? turned.slice(-1, 1, std::nullopt, 2)
                                               : turned.narrow(-1, rotary.half(), rotary.half());
  const at::Tensor o1 = first * cos - second * sin;
  const at::Tensor o2 = second * cos + first * sin;
  const at::Tensor out =
      rotary.interleaved ? at::stack({o1, o2}, -1).flatten(-2) : at::cat({o1, o2}, -1);
  const at::Tensor rest = heads.narrow(-1, 2 * rotary.half(), rotary.head_size - 2 * rotary.half());
  return at::cat({out, rest}, -1).flatten(-2).to(x.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> mrope(const at::Tensor& positions, const at::Tensor& query,
                                         const at::Tensor& key, const at::Tensor& cos_sin_cache,
                                         std::int64_t head_size,
                                         at::OptionalIntArrayRef mrope_section,
                                         std::optional<c10::string_view> rotary_mode,
                                         std::optional<c10::string_view> cache_mode) {
  const std::string_view mode = rotary_mode.value_or("half");
  const std::string_view sections = cache_mode.value_or("default");
  TORCH_CHECK_VALUE(mode == "half" || mode == "interleave" || mode == "interleaved", kOp,
                    ": expected rotary_mode 'half' or 'interleave', got '", mode, "'");
  TORCH_CHECK_VALUE(sections == "default" || sections == "interleave", kOp,
                    ": expected cache_mode 'default' or 'interleave', got '", sections, "'");
  TORCH_CHECK_VALUE(head_size > 0, kOp, ": expected a positive head_size, got ", head_size);
  const Rotary rotary{
      .positions = positions,
      .cache = cos_sin_cache,
      .sections = mrope_section.has_value() ? mrope_section->vec() : std::vector<std::int64_t>{},
      .head_size = head_size,
      .interleaved = mode != "half",
      .sections_interleave = sections == "interleave"};
  check(rotary, query, key);
  if (query.is_meta()) return {at::empty_like(query), at::empty_like(key)};
  const at::Tensor angles = angles_of(rotary);
  const at::Tensor cos = angles.narrow(-1, 0, rotary.half()).unsqueeze(1);
  const at::Tensor sin = angles.narrow(-1, rotary.half(), rotary.half()).unsqueeze(1);
  return {rotated(rotary, query, cos, sin), rotated(rotary, key, cos, sin)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) { composed_kernel<&mrope>(m, "npu_mrope"); }

}  // namespace
}  // namespace npu_sim::ops
