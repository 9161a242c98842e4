// npu_apply_adam and npu_apply_adam_w: one step of a parameter and its two moments, in place. Only
// the forms with `out` compute; the others raise, on the card too.
#include <ATen/TensorOperators.h>
#include <ATen/ops/maximum.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: two moments (2 each), bias corrections (2), decay, step (2); a root and a division. All
// is read once, parameter and moments are written.
template <std::size_t grad, int linear>
model::Work step_work(const aten::Call& call) {
  base::Bytes written{};
  for (const c10::IValue& state : call.arguments[call.arguments.size() - 1].toListRef()) {
    written += aten::bytes_of(state.toTensor());
  }
  const at::Tensor& gradient = aten::tensor_at(call, grad);
  return model::VectorWork{
      .elements = aten::elements_of(gradient),
      .read = written + aten::bytes_of(gradient) + aten::bytes_of(aten::tensor_at(call, grad + 1)),
      .written = written,
      .compute = aten::format_of(gradient),
      .linear_ops = linear,
      .special_ops = 2};
}
constexpr aten::Entry kEntries[] = {
    {"npu_apply_adam.out", step_work<6, 8>},
    {"npu_apply_adam_w.out", step_work<7, 10>},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

void check_state(const char* op, const at::Tensor& grad, at::TensorList out) {
  TORCH_CHECK_VALUE(out.size() == 3, op, ": expected out of var, m and v, got ", out.size(),
                    " tensors");
  TORCH_CHECK_TYPE(grad.is_floating_point(), op, ": expected a floating grad, got ",
                   grad.scalar_type());
  for (const at::Tensor& state : out) {
    TORCH_CHECK_VALUE(state.sizes() == grad.sizes(), op,
                      ": expected var, m and v of the shape of grad ", grad.sizes(), ", got ",
                      state.sizes());
    TORCH_CHECK_TYPE(state.is_floating_point(), op, ": expected floating var, m and v, got ",
                     state.scalar_type());
  }
}

// --- compute
// m and v move towards the gradient and its square: m = beta1 m + (1 - beta1) g.
struct Moments {
  at::Tensor m;
  at::Tensor v;
};

Moments moved(const at::Tensor& gradient, at::TensorList out, const at::Scalar& beta1,
              const at::Scalar& beta2) {
  return {.m = widened(out[1]) * beta1 + gradient * (1 - beta1.toDouble()),
          .v = widened(out[2]) * beta2 + gradient * gradient * (1 - beta2.toDouble())};
}

Three store(at::TensorList out, const at::Tensor& var, const Moments& moments) {
  out[0].copy_(var);
  out[1].copy_(moments.m);
  out[2].copy_(moments.v);
  return {out[0], out[1], out[2]};
}

// var -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon); the powers are those of this
// step. With Nesterov's momentum the new m is moved towards the gradient once more.
Three apply_adam(const at::Scalar& beta1_power, const at::Scalar& beta2_power, const at::Scalar& lr,
                 const at::Scalar& beta1, const at::Scalar& beta2, const at::Scalar& epsilon,
                 const at::Tensor& grad, std::optional<bool> /*use_locking: one kernel at a time*/,
                 std::optional<bool> nesterov, at::TensorList out) {
  check_state("npu_apply_adam", grad, out);
  const at::Tensor gradient = widened(grad);
  const Moments moments = moved(gradient, out, beta1, beta2);
  const double rate =
      lr.toDouble() * std::sqrt(1 - beta2_power.toDouble()) / (1 - beta1_power.toDouble());
  const at::Tensor direction =
      nesterov.value_or(false) ? moments.m * beta1 + gradient * (1 - beta1.toDouble()) : moments.m;
  return store(out, widened(out[0]) - direction * rate / (moments.v.sqrt() + epsilon), moments);
}

// Decoupled decay, then the step; beta1_power and beta2_power are those of the step before. With
// amsgrad max_grad_norm bounds v from below; it is read only.
Three apply_adam_w(const at::Scalar& beta1_power, const at::Scalar& beta2_power,
                   const at::Scalar& lr, const at::Scalar& weight_decay, const at::Scalar& beta1,
                   const at::Scalar& beta2, const at::Scalar& epsilon, const at::Tensor& grad,
                   const std::optional<at::Tensor>& max_grad_norm, std::optional<bool> amsgrad,
                   std::optional<bool> maximize, at::TensorList out) {
  constexpr const char* kOp = "npu_apply_adam_w";
  check_state(kOp, grad, out);
  const at::Tensor gradient = maximize.value_or(false) ? -widened(grad) : widened(grad);
  const Moments moments = moved(gradient, out, beta1, beta2);
  at::Tensor bound = moments.v;
  if (amsgrad.value_or(false)) {
    TORCH_CHECK_VALUE(
        max_grad_norm && max_grad_norm->defined() && max_grad_norm->sizes() == grad.sizes(), kOp,
        ": expected max_grad_norm of ", grad.sizes(),
        ", the shape of grad, because amsgrad is set");
    bound = at::maximum(widened(*max_grad_norm), moments.v);
  }
  const double correction1 = 1 - beta1_power.toDouble() * beta1.toDouble();
  const double correction2 = 1 - beta2_power.toDouble() * beta2.toDouble();
  const at::Tensor decayed = widened(out[0]) * (1 - lr.toDouble() * weight_decay.toDouble());
  const at::Tensor denominator = (bound / correction2).sqrt() + epsilon;
  return store(out, decayed - moments.m * (lr.toDouble() / correction1) / denominator, moments);
}

Three no_apply_adam(const at::Scalar& /*beta1_power*/, const at::Scalar& /*beta2_power*/,
                    const at::Scalar& /*lr*/, const at::Scalar& /*beta1*/,
                    const at::Scalar& /*beta2*/, const at::Scalar& /*epsilon*/,
                    const at::Tensor& /*grad*/, std::optional<bool> /*use_locking*/,
                    std::optional<bool> /*nesterov*/) {
  TORCH_CHECK(false,
              "npu_apply_adam is not implemented for Tensor; pass out=[var, m, v] "
              "(ERR01001 OPS invalid parameter)");
}

Three no_apply_adam_w(const at::Scalar& /*beta1_power*/, const at::Scalar& /*beta2_power*/,
                      const at::Scalar& /*lr*/, const at::Scalar& /*weight_decay*/,
                      const at::Scalar& /*beta1*/, const at::Scalar& /*beta2*/,
                      const at::Scalar& /*epsilon*/, const at::Tensor& /*grad*/,
                      const std::optional<at::Tensor>& /*max_grad_norm*/,
                      std::optional<bool> /*amsgrad*/, std::optional<bool> /*maximize*/) {
  TORCH_CHECK(false,
              "npu_apply_adam_w is not implemented for Tensor; pass out=[var, m, v] "
              "(ERR01001 OPS invalid parameter)");
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&apply_adam>(m, "npu_apply_adam.out");
  composed_kernel<&apply_adam_w>(m, "npu_apply_adam_w.out");
  composed_kernel<&no_apply_adam>(m, "npu_apply_adam");
  composed_kernel<&no_apply_adam_w>(m, "npu_apply_adam_w");
}

}  // namespace
}  // namespace npu_sim::ops
