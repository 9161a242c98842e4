// npu_moe_init_routing_group_quant: rows to their experts, quantised by blocks on the way.
//
// quant_mode -1: as they are; 1: int8, a scale a row; 2 and 3: MX of E5M2 and E4M3; 4 and 5: E5M2
// and E4M3, an fp32 scale for 128 values. Source: cann-recipes-infer@fbc225d, ops/ascendc/docs and
// csrc/npu_moe_init_routing_group_quant.cpp.
#include <ATen/TensorOperators.h>

#include "aten/describe/registry.h"
#include "ops/extension/block_scales.h"
#include "ops/extension/npu_operator.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/moe/moved_rows.h"
#include "ops/optional_tensor.h"
#include "ops/quant/mx.h"
#include "ops/quant/quantized.h"

namespace npu_sim::ops {
namespace {

using compute::Element;
constexpr const char* kOp = "npu_moe_init_routing_group_quant";

// --- work: the choices are sorted, then each chosen row is read, quantised and written to its
// place.
model::Work sort_work(const aten::Call& call) { return sorted_choices(call.argument(1)); }
model::Work move_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  return moved_rows(call, {.table = x, .items = aten::elements_of(call.argument(1))});
}
constexpr aten::Describer kThenMoves[] = {move_work};
constexpr aten::Entry kEntries[] = {
    {"custom::npu_moe_init_routing_group_quant", sort_work, kThenMoves}};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
enum class Mode : std::int64_t {
  kNone = -1,
  kInt8 = 1,
  kMxE5m2 = 2,
  kMxE4m3 = 3,
  kBlockE5m2 = 4,
  kBlockE4m3 = 5
};

struct Modes {
  std::int64_t drop_pad;
  std::int64_t tokens_type;
  bool tokens_flag;
  std::int64_t quant;
  std::int64_t group_size;
};

Mode mode_of(const Modes& modes) {
  TORCH_CHECK_VALUE(modes.drop_pad == 0, kOp, ": expected drop_pad_mode 0 (dropless), got ",
                    modes.drop_pad);
  TORCH_CHECK_VALUE(modes.tokens_type == 1 || modes.tokens_type == 2, kOp,
                    ": expected expert_tokens_num_type 1 (counts) or 2 (pairs), got ",
                    modes.tokens_type);
  TORCH_CHECK_VALUE(modes.tokens_flag, kOp, ": expected expert_tokens_num_flag=True, got False");
  TORCH_CHECK_NOT_IMPLEMENTED(modes.quant != 0, kOp, ": quant_mode 0 (static) is not built yet");
  TORCH_CHECK_VALUE(modes.quant >= -1 && modes.quant <= 5, kOp,
                    ": expected quant_mode from -1 to 5, got ", modes.quant);
  const auto mode = static_cast<Mode>(modes.quant);
  constexpr std::int64_t kGroup = 128;
  TORCH_CHECK_VALUE(modes.group_size == kGroup || mode < Mode::kBlockE5m2, kOp,
                    ": expected group_size of ", kGroup, ", got ", modes.group_size);
  return mode;
}

Element element_of(Mode mode) {
  return mode == Mode::kMxE5m2 || mode == Mode::kBlockE5m2 ? Element::kE5m2 : Element::kE4m3;
}

// Rows of 128 values a scale; a row's last block may be shorter.
Quantized block_quantized(const at::Tensor& rows, Element element) {
  constexpr std::int64_t kBlock = 128;
  const at::Tensor blocks = in_blocks(rows.to(at::kFloat), kBlock);
  const at::Tensor scale = blocks.abs().amax(-1) / compute::largest(element);
  const at::Tensor codes =
      codes_of(kOp, blocks, scale.unsqueeze(-1), {.element = element}).flatten(-2);
  return {.codes = codes.narrow(-1, 0, rows.size(-1)).contiguous(), .scale = scale};
}

Quantized quantized(Mode mode, const at::Tensor& rows, const at::Tensor& scale) {
  switch (mode) {
    case Mode::kNone: return {.codes = rows, .scale = scale};
    case Mode::kInt8: return quantize_rows(kOp, rows, {.element = Element::kInt8});
    case Mode::kMxE5m2:
    case Mode::kMxE4m3: {
      const Quantized mx = mx_quantize(kOp, rows, {.element = element_of(mode)});
      return {.codes = mx.codes, .scale = mx.scale.view(at::kFloat8_e8m0fnu)};
    }
    case Mode::kBlockE5m2:
    case Mode::kBlockE4m3: break;
  }
  return block_quantized(rows, element_of(mode));
}

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Four init_routing_group_quant(const at::Tensor& x, const at::Tensor& expert_idx,
                              const MaybeTensor& scale, const MaybeTensor& offset,
                              std::int64_t active_num, std::int64_t expert_capacity,
                              std::int64_t expert_num, std::int64_t drop_pad_mode,
                              std::int64_t expert_tokens_num_type, bool expert_tokens_num_flag,
                              std::int64_t quant_mode, at::IntArrayRef active_expert_range,
                              std::int64_t row_idx_type, std::int64_t group_size) {
  using Signature =
      Four(const at::Tensor&, const at::Tensor&, const MaybeTensor&, const MaybeTensor&,
           std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, std::int64_t,
           at::IntArrayRef, std::int64_t, std::optional<std::int64_t>);
  static const auto route = npu_operator<Signature>("npu::npu_moe_init_routing_v2");
  const Mode mode = mode_of(
      {drop_pad_mode, expert_tokens_num_type, expert_tokens_num_flag, quant_mode, group_size});
  TORCH_CHECK_VALUE(x.dim() == 2 && x.numel() > 0, kOp,
                    ": expected x of [tokens, hidden] without empty axes, got ", x.sizes());
  TORCH_CHECK_TYPE(mode == Mode::kNone || x.scalar_type() == at::kBFloat16 ||
                       x.scalar_type() == at::kHalf || x.scalar_type() == at::kFloat,
                   kOp, ": expected x of bfloat16, float16 or float32 to quantise, got ",
                   x.scalar_type());
  TORCH_CHECK_VALUE(expert_idx.dim() == 2 && expert_idx.size(0) == x.size(0), kOp,
                    ": expected expert_idx of [", x.size(0), ", k], got ", expert_idx.sizes());
  TORCH_CHECK_NOT_IMPLEMENTED(mode == Mode::kNone || (!given(scale) && !given(offset)), kOp,
                              ": scale and offset of a quantisation are not built yet");
  const auto [rows, places, counts, scales] =
      route.call(x, expert_idx, scale, std::nullopt, active_num, expert_capacity, expert_num,
                 drop_pad_mode, expert_tokens_num_type, expert_tokens_num_flag, /*quant_mode=*/-1,
                 active_expert_range, row_idx_type, std::nullopt);
  const Quantized result = quantized(mode, rows, scales);
  return {result.codes, places, counts, result.scale};
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&init_routing_group_quant>(m, "npu_moe_init_routing_group_quant");
});

}  // namespace
}  // namespace npu_sim::ops
