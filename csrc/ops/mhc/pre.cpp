// npu_mhc_pre: gates and mixing matrix from the streams, and the block's input.
//
//   h_mix = (x gamma) phi^T                      x flattened to [tokens, streams width]
//   h_pre, h_post, h_res = split(h_mix / rms(x))
//   h_pre = sigmoid(alpha0 h_pre + bias) + hc_eps,  h_post = 2 sigmoid(alpha1 h_post + bias)
//   h_res = alpha2 h_res + bias                  before its Sinkhorn iterations
//   h_in  = sum over streams of h_pre x
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/mhc/streams.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the product on the cube in fp32 or HF32; the streams are read once for it and once for
// the block's input, from L2.
model::Work pre_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const at::Tensor& phi = call.argument(1);
  const std::int64_t k = aten::size_along(phi, 1);
  const std::int64_t tokens = aten::ratio(aten::elements_of(x), k);
  return model::MatmulWork{.m = tokens,
                           .n = aten::size_along(phi, 0),
                           .k = k,
                           .a = aten::format_of(x),
                           .b = model::Format::kHf32,
                           .out = model::Format::kFp32,
                           .b_transposed = true,
                           .adds_input = true,
                           .added = aten::bytes_of(call.result(0))};
}
// The two products of the gradient, of the same size each.
model::Work pre_backward_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const at::Tensor& phi = call.argument(1);
  const std::int64_t k = aten::size_along(phi, 1);
  return model::MatmulWork{.batch = 2,
                           .m = aten::ratio(aten::elements_of(x), k),
                           .n = aten::size_along(phi, 0),
                           .k = k,
                           .a = aten::format_of(x),
                           .b = model::Format::kHf32,
                           .out = model::Format::kFp32,
                           .adds_input = true,
                           .added = 2 * aten::bytes_of(x)};
}
constexpr aten::Entry kEntries[] = {
    {"npu_mhc_pre", pre_work},
    {"npu_mhc_pre_backward", pre_backward_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- compute
// Widths of the three parts of h_mix; the third is 0 in the form without a mixing matrix.
struct Parts {
  std::int64_t n = 0;
  std::int64_t res = 0;
  [[nodiscard]] std::int64_t all() const { return 2 * n + res; }
};

Parts check_pre(const char* op, const at::Tensor& x, const at::Tensor& phi, const at::Tensor& alpha,
                const std::optional<at::Tensor>& gamma) {
  const std::int64_t n = streams_of(op, x);
  TORCH_CHECK_VALUE(x.numel() > 0, op, ": expected x with elements, got ", x.sizes());
  TORCH_CHECK_VALUE(alpha.numel() == 3 || alpha.numel() == 2, op,
                    ": expected alpha of 3 elements, or 2 without a mixing matrix, got ",
                    alpha.numel());
  const Parts parts{.n = n, .res = alpha.numel() == 3 ? n * n : 0};
  check_shape(op, "phi", phi, {parts.all(), n * x.size(-1)});
  if (given(gamma)) check_shape(op, "gamma", *gamma, {n, x.size(-1)});
  return parts;
}

at::Tensor to_hf32(const at::Tensor& x) {
  constexpr std::int64_t kDropped = 13;  // HF32 keeps 10 bits of the mantissa, rounding half up
  const at::Tensor bits = x.contiguous().view(at::kInt);
  return (bits.__rshift__(kDropped - 1) + 1).__rshift__(1).__lshift__(kDropped).view(at::kFloat);
}

at::Tensor weighted(const at::Tensor& flat, const std::optional<at::Tensor>& gamma) {
  return given(gamma) ? flat * widened(*gamma).flatten() : flat;
}

using Six = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Six pre(const at::Tensor& x, const at::Tensor& phi, const at::Tensor& alpha, const at::Tensor& bias,
        const std::optional<at::Tensor>& gamma, double norm_eps, double hc_eps,
        std::int64_t /*out_flag: the last three are there anyway*/, std::int64_t inner_precise) {
  constexpr const char* kOp = "npu_mhc_pre";
  const Parts parts = check_pre(kOp, x, phi, alpha, gamma);
  check_shape(kOp, "bias", bias, {parts.all()});
  TORCH_CHECK_VALUE(inner_precise == 0 || inner_precise == 1, kOp,
                    ": expected inner_precise 0 (fp32) or 1 (HF32), got ", inner_precise);
  const bool rounds = inner_precise == 1;
  const at::Tensor wide = widened(x);
  const at::Tensor flat = wide.flatten(-2);
  const at::Tensor inv_rms = at::rsqrt((flat * flat).mean(-1) + norm_eps);
  const at::Tensor left = weighted(flat, gamma);
  const at::Tensor h_mix =
      at::matmul(rounds ? to_hf32(left) : left, (rounds ? to_hf32(phi) : phi).t());
  const at::Tensor mix = h_mix * inv_rms.unsqueeze(-1);
  const std::int64_t n = parts.n;
  const at::Tensor h_pre =
      at::sigmoid(mix.narrow(-1, 0, n) * alpha[0] + bias.narrow(0, 0, n)) + hc_eps;
  const at::Tensor h_post = at::sigmoid(mix.narrow(-1, n, n) * alpha[1] + bias.narrow(0, n, n)) * 2;
  const at::Tensor h_res =
      parts.res == 0
          ? at::empty({1}, mix.options())
          : (mix.narrow(-1, 2 * n, parts.res) * alpha[2] + bias.narrow(0, 2 * n, parts.res))
                .unflatten(-1, {n, n});
  const at::Tensor h_in = (h_pre.unsqueeze(-1) * wide).sum(-2).to(x.scalar_type());
  return {h_in, h_post, h_res, inv_rms, h_mix, h_pre};
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Gradients of the gates before their non-linear functions.
struct GateGrads {
  at::Tensor inner;  // of alpha h + bias, the three parts side by side
  at::Tensor mix;    // of h_mix / rms
};

GateGrads gate_grads(const Parts& parts, const at::Tensor& alpha, const at::Tensor& dh_pre,
                     const at::Tensor& grad_h_post, const at::Tensor& grad_h_res,
                     const at::Tensor& s_pre, const at::Tensor& h_post) {
  std::vector<at::Tensor> inner = {dh_pre * s_pre * (1 - s_pre),
                                   grad_h_post * h_post * (1 - h_post / 2)};
  if (parts.res > 0) inner.push_back(grad_h_res.flatten(-2));
  std::vector<at::Tensor> mix;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    mix.push_back(inner[i] * alpha[static_cast<std::int64_t>(i)]);
  }
  return {.inner = at::cat(inner, -1), .mix = at::cat(mix, -1)};
}

Five pre_backward(const at::Tensor& x, const at::Tensor& phi, const at::Tensor& alpha,
                  const at::Tensor& grad_h_in, const at::Tensor& grad_h_post,
                  const at::Tensor& grad_h_res, const at::Tensor& inv_rms, const at::Tensor& h_mix,
                  const at::Tensor& h_pre, const at::Tensor& h_post,
                  const std::optional<at::Tensor>& gamma, double hc_eps,
                  const std::optional<at::Tensor>& grad_x_post, std::int64_t /*inner_precise*/) {
  constexpr const char* kOp = "npu_mhc_pre_backward";
  const Parts parts = check_pre(kOp, x, phi, alpha, gamma);
  TORCH_CHECK_VALUE(h_mix.numel() > 0, kOp, ": expected inv_rms, h_mix and h_pre of the forward ",
                    "pass, got none; call npu_mhc_pre with out_flag=1");
  const at::Tensor wide = widened(x);
  const at::Tensor flat = wide.flatten(-2);
  const at::Tensor g_in = widened(grad_h_in).unsqueeze(-2);
  const GateGrads grads = gate_grads(parts, alpha, (g_in * wide).sum(-1), grad_h_post, grad_h_res,
                                     h_pre - hc_eps, h_post);
  const at::Tensor scale = inv_rms.unsqueeze(-1);
  const at::Tensor d_mix = grads.mix * scale;
  const at::Tensor d_weighted = at::matmul(d_mix, phi);
  const at::Tensor dphi =
      at::matmul(d_mix.flatten(0, -2).t(), weighted(flat, gamma).flatten(0, -2));

  // Each alpha scales one part of the mix: its gradient is that part's share of the sum.
  const at::Tensor shares = (grads.inner * h_mix * scale).flatten(0, -2).sum(0);
  std::vector<std::int64_t> widths = {parts.n, parts.n};
  if (parts.res > 0) widths.push_back(parts.res);
  std::vector<at::Tensor> dalpha;
  for (const at::Tensor& part : shares.split_with_sizes(widths)) dalpha.push_back(part.sum());
  const at::Tensor dbias = grads.inner.flatten(0, -2).sum(0);

  const at::Tensor d_inv = (grads.mix * h_mix).sum(-1, true);
  const double width = static_cast<double>(flat.size(-1));
  const at::Tensor through_rms = d_inv * scale * scale * scale * flat / -width;
  at::Tensor dx = (weighted(d_weighted, gamma) + through_rms).unflatten(-1, {parts.n, -1}) +
                  h_pre.unsqueeze(-1) * g_in;
  if (given(grad_x_post)) dx = dx + widened(*grad_x_post).view(dx.sizes());
  const at::Tensor dgamma = (flat * d_weighted).flatten(0, -2).sum(0).unflatten(0, {parts.n, -1});
  return {dx.to(x.scalar_type()), dphi, at::stack(dalpha).view(alpha.sizes()), dbias,
          given(gamma) ? dgamma : at::zeros_like(dgamma)};
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&pre>(m, "npu_mhc_pre");
  composed_kernel<&pre_backward>(m, "npu_mhc_pre_backward");
  derivative(m, "npu_mhc_pre",
             "x, phi, alpha, bias, gamma: npu_mhc_pre_backward(x, phi, alpha, grad0, grad1, grad2, "
             "result3, result4, result5, result1, gamma, hc_eps)");
}

}  // namespace
}  // namespace npu_sim::ops
