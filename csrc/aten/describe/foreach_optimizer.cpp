// One kernel over lists of tensors: foreach operators, fused optimizers, loss scaling.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::Work;

std::int64_t list_elements(const Call& call, std::size_t index) {
  if (index >= call.arguments.size() || !call.arguments[index].isList()) return 0;
  std::int64_t elements = 0;
  for (const c10::IValue& item : call.arguments[index].toListRef()) {
    if (item.isTensor()) elements += elements_of(item.toTensor());
  }
  return elements;
}

Bytes list_bytes(const Call& call, std::size_t index) {
  Bytes bytes{};
  if (index >= call.arguments.size() || !call.arguments[index].isList()) return bytes;
  for (const c10::IValue& item : call.arguments[index].toListRef()) {
    if (item.isTensor()) bytes += bytes_of(item.toTensor());
  }
  return bytes;
}

// A call that returns nothing has changed its first list.
template <int linear, int special = 0>
Work each(const Call& call) {
  const Traffic traffic = traffic_of(call);
  const bool in_place = call.results.empty();
  return model::VectorWork{.elements = list_elements(call, 0),
                           .read = traffic.read,
                           .written = in_place ? list_bytes(call, 0) : traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = instructions(linear + traffic.converts),
                           .special_ops = special};
}

// _foreach_copy_(self, src): self is written only.
Work each_copy(const Call& call) {
  const Bytes written = list_bytes(call, 0);
  return model::CopyWork{.read = list_bytes(call, 1), .written = written, .run = written};
}

Work each_clone(const Call& call) {
  const Bytes bytes = list_bytes(call, 0);
  return model::CopyWork{.read = bytes, .written = bytes, .run = bytes};
}

Work each_zero(const Call& call) {
  return model::VectorWork{.elements = list_elements(call, 0),
                           .written = list_bytes(call, 0),
                           .compute = format_of(tensor_at(call, 0))};
}

// _foreach_norm, _foreach_max: a row a tensor.
Work each_reduction(const Call& call) {
  const Traffic traffic = traffic_of(call);
  const auto tensors = static_cast<std::int64_t>(call.arguments[0].toListRef().size());
  return model::RowWork{.rows = tensors,
                        .columns = ratio(list_elements(call, 0), tensors),
                        .read = traffic.read,
                        .written = traffic.written,
                        .compute = traffic.compute};
}

// Parameters, gradients and moments are read; all of them but the gradients (list 1) are written.
template <int linear, int special, std::size_t last_state>
Work optimizer_step(const Call& call) {
  Bytes written = list_bytes(call, 0);
  for (std::size_t list = 2; list <= last_state; ++list) written += list_bytes(call, list);
  const Traffic traffic = traffic_of(call);
  return model::VectorWork{.elements = list_elements(call, 0),
                           .read = traffic.read,
                           .written = written,
                           .compute = traffic.compute,
                           .linear_ops = instructions(linear + traffic.converts),
                           .special_ops = special};
}

constexpr Entry kForeach[] = {
    {"_foreach_add", each<1>},
    {"_foreach_sub", each<1>},
    {"_foreach_mul", each<1>},
    {"_foreach_div", each<0, 1>},
    {"_foreach_abs", each<1>},
    {"_foreach_neg", each<1>},
    {"_foreach_sign", each<2>},
    {"_foreach_ceil", each<1>},
    {"_foreach_floor", each<1>},
    {"_foreach_round", each<1>},
    {"_foreach_trunc", each<1>},
    {"_foreach_frac", each<2>},
    {"_foreach_maximum", each<1>},
    {"_foreach_minimum", each<1>},
    {"_foreach_clamp_max", each<1>},
    {"_foreach_clamp_min", each<1>},
    {"_foreach_lerp", each<2>},
    {"_foreach_addcmul", each<2>},
    {"_foreach_addcdiv", each<1, 1>},
    {"_foreach_reciprocal", each<0, 1>},
    {"_foreach_sqrt", each<0, 1>},
    {"_foreach_rsqrt", each<0, 2>},
    {"_foreach_pow", each<6, 2>},
    {"_foreach_exp", each<0, 1>},
    {"_foreach_expm1", each<6, 1>},
    {"_foreach_log", each<0, 1>},
    {"_foreach_log2", each<1, 1>},
    {"_foreach_log10", each<1, 1>},
    {"_foreach_log1p", each<6, 1>},
    {"_foreach_sin", each<14>},
    {"_foreach_cos", each<14>},
    {"_foreach_tan", each<20, 1>},
    {"_foreach_asin", each<12, 1>},
    {"_foreach_acos", each<12, 1>},
    {"_foreach_atan", each<14, 1>},
    {"_foreach_sinh", each<4, 2>},
    {"_foreach_cosh", each<3, 2>},
    {"_foreach_tanh", each<5, 2>},
    {"_foreach_sigmoid", each<2, 2>},
    {"_foreach_erf", each<16, 1>},
    {"_foreach_erfc", each<18, 2>},
    {"_foreach_lgamma", each<40, 4>},
    {"_foreach_copy", each_copy},
    {"_foreach_clone", each_clone},
    {"_foreach_zero", each_zero},
    {"_foreach_norm", each_reduction},
    {"_foreach_powsum", each_reduction},
    {"_foreach_max", each_reduction},
    {"_amp_foreach_non_finite_check_and_unscale", each<3>},
    {"_amp_update_scale", elements<6>},
};

// Adam: two moments (2 each), decay (1), bias corrections (2), root, division, step (2).
constexpr Entry kOptimizers[] = {
    {"_fused_adam", optimizer_step<10, 2, 4>},
    {"_fused_adamw", optimizer_step<10, 2, 4>},
    {"_fused_sgd", optimizer_step<4, 0, 2>},
    {"_fused_adagrad", optimizer_step<5, 2, 2>},
};

}  // namespace

Entries foreach_entries() { return kForeach; }
Entries optimizer_entries() { return kOptimizers; }

}  // namespace npu_sim::aten
