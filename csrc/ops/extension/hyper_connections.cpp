// npu_hc_pre, its two parts, and npu_hc_post: the streams of hyper-connections before and after a
// block, with the Sinkhorn iterations inside.
//
//   mix   = x fn^T / rms(x)                 x flattened to [tokens, streams width], fn in HF32
//   gates = sigmoid(scale0 mix + base) + eps, post = 2 sigmoid(scale1 mix + base)
//   comb  = sinkhorn(scale2 mix + base)
//   y     = sum over streams of gates x
//
// Source: cann-recipes-infer@fbc225d, ops/ascendc/docs and examples/test_npu_hc_pre.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "ops/extension/npu_operator.h"
#include "ops/extension/registration.h"
#include "ops/host_kernel.h"
#include "ops/mhc/streams.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

// --- work: the product in HF32, which reads the streams a second time from L2 for y; then the
// gates, whose matrices stay in the unified buffer from the softmax to the last of 2 n - 1 steps.
// Two kernels, although the card fuses them.
model::Work product_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  const at::Tensor& fn = call.argument(1);
  const std::int64_t k = aten::size_along(fn, 1);
  return model::MatmulWork{.m = aten::ratio(aten::elements_of(x), k),
                           .n = aten::size_along(fn, 0),
                           .k = k,
                           .a = aten::format_of(x),
                           .b = model::Format::kHf32,
                           .out = model::Format::kFp32,
                           .b_transposed = true,
                           .adds_input = true,
                           .added = aten::bytes_of(call.result(0))};
}

template <std::size_t iterations>
model::Work gates_work(const aten::Call& call) {
  const at::Tensor& comb = call.result(2);
  const std::int64_t matrix = aten::slice_after(comb, comb.dim() - 3);
  const std::int64_t steps = 2 * aten::integer_at(call, iterations, 20) - 1;
  const base::Bytes bytes = aten::bytes_of(comb) + aten::bytes_of(call.result(1));
  return model::RowWork{.rows = aten::ratio(aten::elements_of(comb), matrix),
                        .columns = matrix,
                        .read = bytes,
                        .written = bytes,
                        .linear_ops = aten::instructions(4 + 2 * steps),
                        .special_ops = aten::instructions(2 + steps),
                        .reductions = 1};
}

model::Work inv_rms_work(const aten::Call& call) {
  const at::Tensor& x = call.argument(0);
  return aten::row_wise(call, aten::slice_after(x, x.dim() - 3), {.linear = 2, .reductions = 1});
}
model::Work post_work(const aten::Call& call) {
  return aten::element_wise(call, static_cast<int>(aten::size_along(call.argument(1), -2)) + 1, 0);
}

constexpr aten::Describer kThenGates[] = {gates_work<5>};
constexpr aten::Describer kThenLateGates[] = {gates_work<6>};
constexpr aten::Entry kEntries[] = {
    {"custom::npu_hc_pre", product_work, kThenGates},
    {"custom::npu_hc_pre_inv_rms", inv_rms_work},
    {"custom::npu_hc_pre_sinkhorn", aten::elements<4>, kThenLateGates},
    {"custom::npu_hc_post", post_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- checks
constexpr std::int64_t kStreams = 4;
constexpr std::int64_t kMixes = kStreams * (kStreams + 2);

void check_fp32(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kFloat, op, ": expected ", argument,
                   " of float32, got ", tensor.scalar_type());
}

void check_streams(const char* op, const at::Tensor& x) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kBFloat16, op, ": expected x of bfloat16, got ",
                   x.scalar_type());
  TORCH_CHECK_VALUE(streams_of(op, x) == kStreams && x.numel() > 0, op, ": expected x with ",
                    kStreams, " streams and no empty axis, got ", x.sizes());
}

struct Gates {
  const char* op;
  const at::Tensor& scale;
  const at::Tensor& base;
  std::int64_t streams;
  std::int64_t iterations;
  double eps;
};

void check_gates(const Gates& gates) {
  TORCH_CHECK_VALUE(gates.streams == kStreams, gates.op, ": expected hc_mult of ", kStreams,
                    ", got ", gates.streams);
  TORCH_CHECK_VALUE(gates.iterations > 0 && gates.iterations <= 100, gates.op,
                    ": expected hc_sinkhorn_iters in [1, 100], got ", gates.iterations);
  check_shape(gates.op, "hc_scale", gates.scale, {3});
  check_shape(gates.op, "hc_base", gates.base, {kMixes});
  check_fp32(gates.op, "hc_scale", gates.scale);
  check_fp32(gates.op, "hc_base", gates.base);
}

std::vector<std::int64_t> tokens_with(const at::Tensor& x, std::int64_t last) {
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end() - 2);
  shape.push_back(last);
  return shape;
}

// --- compute
// The cube's HF32 as the kernel sets it: 10 bits of the mantissa, the others cut off.
at::Tensor truncated_to_hf32(const at::Tensor& x) {
  constexpr std::int64_t kDropped = 13;
  return x.contiguous().view(at::kInt).__rshift__(kDropped).__lshift__(kDropped).view(at::kFloat);
}

at::Tensor sinkhorn(const at::Tensor& x, double eps, std::int64_t iterations) {
  using Signature = std::tuple<at::Tensor, at::Tensor, at::Tensor>(const at::Tensor&, double,
                                                                   c10::SymInt, std::int64_t);
  static const auto op = npu_operator<Signature>("npu::npu_mhc_sinkhorn");
  return std::get<0>(op.call(x, eps, iterations, /*out_flag=*/0));
}

at::Tensor inverse_rms(const at::Tensor& flat, double epsilon) {
  return at::rsqrt((flat * flat).mean(-1, true) + epsilon);
}

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three gated(const Gates& gates, const at::Tensor& mix, const at::Tensor& x) {
  const auto part = [&](std::int64_t which, std::int64_t first, std::int64_t count) {
    return mix.narrow(-1, first, count) * gates.scale[which] + gates.base.narrow(0, first, count);
  };
  const at::Tensor pre = at::sigmoid(part(0, 0, kStreams)) + gates.eps;
  const at::Tensor post = at::sigmoid(part(1, kStreams, kStreams)) * 2;
  const at::Tensor comb =
      part(2, 2 * kStreams, kStreams * kStreams).unflatten(-1, {kStreams, kStreams});
  const at::Tensor y = (pre.unsqueeze(-1) * widened(x)).sum(-2).to(x.scalar_type());
  return {y, post, sinkhorn(comb, gates.eps, gates.iterations)};
}

Three hc_pre(const at::Tensor& x, const at::Tensor& hc_fn, const at::Tensor& hc_scale,
             const at::Tensor& hc_base, std::int64_t hc_mult, std::int64_t hc_sinkhorn_iters,
             double norm_eps, double hc_eps) {
  constexpr const char* kOp = "npu_hc_pre";
  const Gates gates{kOp, hc_scale, hc_base, hc_mult, hc_sinkhorn_iters, hc_eps};
  check_streams(kOp, x);
  check_gates(gates);
  check_shape(kOp, "hc_fn", hc_fn, {kMixes, kStreams * x.size(-1)});
  check_fp32(kOp, "hc_fn", hc_fn);
  const at::Tensor flat = widened(x).flatten(-2);
  const at::Tensor mix =
      at::matmul(flat, truncated_to_hf32(hc_fn).t()) * inverse_rms(flat, norm_eps);
  return gated(gates, mix, x);
}

at::Tensor hc_pre_inv_rms(const at::Tensor& x, double epsilon) {
  constexpr const char* kOp = "npu_hc_pre_inv_rms";
  check_streams(kOp, x);
  TORCH_CHECK_VALUE(epsilon >= 0, kOp, ": expected epsilon of 0 or more, got ", epsilon);
  return inverse_rms(widened(x).flatten(-2), epsilon);
}

Three hc_pre_sinkhorn(const at::Tensor& mixes, const at::Tensor& rsqrt, const at::Tensor& hc_scale,
                      const at::Tensor& hc_base, const at::Tensor& x, std::int64_t hc_mult,
                      std::int64_t hc_sinkhorn_iters, double hc_eps) {
  constexpr const char* kOp = "npu_hc_pre_sinkhorn";
  const Gates gates{kOp, hc_scale, hc_base, hc_mult, hc_sinkhorn_iters, hc_eps};
  check_streams(kOp, x);
  check_gates(gates);
  check_shape(kOp, "mixes", mixes, tokens_with(x, kMixes));
  check_shape(kOp, "rsqrt", rsqrt, tokens_with(x, 1));
  check_fp32(kOp, "mixes", mixes);
  check_fp32(kOp, "rsqrt", rsqrt);
  return gated(gates, mixes * rsqrt, x);
}

at::Tensor hc_post(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& post,
                   const at::Tensor& comb) {
  constexpr const char* kOp = "npu_hc_post";
  const std::int64_t streams = streams_of(kOp, residual);
  std::vector<std::int64_t> mixing = tokens_with(residual, streams);
  check_shape(kOp, "x", x, tokens_with(residual, residual.size(-1)));
  check_shape(kOp, "post", post, mixing);
  mixing.push_back(streams);
  check_shape(kOp, "comb", comb, mixing);
  TORCH_CHECK_VALUE(streams == kStreams, kOp, ": expected residual with ", kStreams,
                    " streams, got ", residual.sizes());
  TORCH_CHECK_TYPE(x.is_floating_point() && residual.scalar_type() == x.scalar_type(), kOp,
                   ": expected x and residual of one floating dtype, got ", x.scalar_type(),
                   " and ", residual.scalar_type());
  TORCH_CHECK_TYPE(post.is_floating_point() && comb.scalar_type() == post.scalar_type(), kOp,
                   ": expected post and comb of one floating dtype, got ", post.scalar_type(),
                   " and ", comb.scalar_type());
  // Stream j of the result is post[j] x plus the sum over i of comb[i, j] residual[i].
  const at::Tensor mixed = at::matmul(widened(comb).transpose(-1, -2), widened(residual));
  return (widened(post).unsqueeze(-1) * widened(x).unsqueeze(-2) + mixed).to(x.scalar_type());
}

// --- registration
[[maybe_unused]] const bool kExtends = extend("custom", [](torch::Library& m) {
  composed_kernel<&hc_pre>(m, "npu_hc_pre");
  composed_kernel<&hc_pre_inv_rms>(m, "npu_hc_pre_inv_rms");
  composed_kernel<&hc_pre_sinkhorn>(m, "npu_hc_pre_sinkhorn");
  composed_kernel<&hc_post>(m, "npu_hc_post");
});

}  // namespace
}  // namespace npu_sim::ops
