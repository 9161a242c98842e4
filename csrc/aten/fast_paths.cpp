// Typed kernels of the operators that models dispatch most: the route without its boxing.
//
// Each calls the very CPU kernel the route would end in. Arguments that are not plain npu tensors
// of one card (CPU scalars, mistakes) take the route.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_softmax_cpu_dispatch.h>
#include <ATen/ops/add_cpu_dispatch.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/cat_cpu_dispatch.h>
#include <ATen/ops/div_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <ATen/ops/mul_cpu_dispatch.h>
#include <ATen/ops/native_layer_norm_cpu_dispatch.h>
#include <ATen/ops/sub_cpu_dispatch.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "aten/describe/work_of.h"
#include "aten/route/host_call.h"
#include "aten/route/host_views.h"
#include "aten/route/route.h"
#include "aten/route/touched.h"
#include "backend/device_type.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

using at::Tensor;
using runtime::LaunchSite;

constexpr c10::DispatchKeySet kNpuKeys(c10::DispatchKey::PrivateUse1);

// The slow way in: the same operator through the boxed route.
template <class Result, class... Arguments>
Result by_route(const c10::OperatorHandle& op, const Arguments&... arguments) {
  torch::jit::Stack stack{c10::IValue(arguments)...};
  route(op, kNpuKeys, &stack);
  return stack.front().to<Result>();
}

c10::OperatorHandle find(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

bool on_one_card(const Tensor& a, const Tensor& b) {
  return a.device().type() == backend::kNpu && a.device() == b.device();
}

LaunchSite site_of(std::string_view op, const Tensor& tensor) {
  return {op, runtime::current_stream(tensor.device().index())};
}

// What the card does for an operator of two tensors.
using DescribeBinary = model::Work (*)(const Tensor& out, const Tensor& a, const Tensor& b);

model::Work one_linear_op(const Tensor& out, const Tensor& a, const Tensor& b) {
  return work_of::pointwise(out, {&a, &b}, 1, 0);
}

model::Work one_special_op(const Tensor& out, const Tensor& a, const Tensor& b) {
  return work_of::pointwise(out, {&a, &b}, 0, 1);
}

model::Work product(const Tensor& out, const Tensor& a, const Tensor& b) {
  return work_of::matmul(a, b, out);
}

// Both operands as CPU views, the kernel, its result as npu tensor, its time.
template <class Kernel>
Tensor binary(std::string_view op, const Tensor& a, const Tensor& b, DescribeBinary describe,
              Kernel kernel) {
  const LaunchSite site = site_of(op, a);
  HostViews views(site.stream);
  const Tensor host_a = views.to_host(a);
  const Tensor host_b = views.to_host(b);
  Tensor out = views.to_npu(host_call(site.stream, [&] { return kernel(host_a, host_b); }));
  runtime::record(site, describe(out, a, b), Touched({&a, &b}, {&out}).footprint());
  return out;
}

Tensor add(const Tensor& self, const Tensor& other, const at::Scalar& alpha) {
  static const auto op = find("aten::add", "Tensor");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other, alpha);
  return binary("aten::add.Tensor", self, other, one_linear_op,
                [&](const Tensor& a, const Tensor& b) { return at::cpu::add(a, b, alpha); });
}

Tensor sub(const Tensor& self, const Tensor& other, const at::Scalar& alpha) {
  static const auto op = find("aten::sub", "Tensor");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other, alpha);
  return binary("aten::sub.Tensor", self, other, one_linear_op,
                [&](const Tensor& a, const Tensor& b) { return at::cpu::sub(a, b, alpha); });
}

Tensor mul(const Tensor& self, const Tensor& other) {
  static const auto op = find("aten::mul", "Tensor");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other);
  return binary("aten::mul.Tensor", self, other, one_linear_op, &at::cpu::mul);
}

Tensor div(const Tensor& self, const Tensor& other) {
  static const auto op = find("aten::div", "Tensor");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other);
  return binary("aten::div.Tensor", self, other, one_special_op,
                [](const Tensor& a, const Tensor& b) { return at::cpu::div(a, b); });
}

Tensor mm(const Tensor& self, const Tensor& other) {
  static const auto op = find("aten::mm", "");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other);
  return binary("aten::mm", self, other, product, &at::cpu::mm);
}

Tensor bmm(const Tensor& self, const Tensor& other) {
  static const auto op = find("aten::bmm", "");
  if (!on_one_card(self, other)) return by_route<Tensor>(op, self, other);
  return binary("aten::bmm", self, other, product, &at::cpu::bmm);
}

Tensor softmax(const Tensor& self, std::int64_t dim, bool half_to_float) {
  const LaunchSite site = site_of("aten::_softmax", self);
  HostViews views(site.stream);
  const Tensor host = views.to_host(self);
  Tensor out = views.to_npu(
      host_call(site.stream, [&] { return at::cpu::_softmax(host, dim, half_to_float); }));
  runtime::record(site, work_of::softmax(self, out, dim), Touched({&self}, {&out}).footprint());
  return out;
}

bool is_absent_or_with(const std::optional<Tensor>& tensor, const Tensor& self) {
  return !tensor.has_value() || !tensor->defined() || on_one_card(self, *tensor);
}

std::tuple<Tensor, Tensor, Tensor> native_layer_norm(const Tensor& self, at::IntArrayRef shape,
                                                     const std::optional<Tensor>& weight,
                                                     const std::optional<Tensor>& bias,
                                                     double eps) {
  static const auto op = find("aten::native_layer_norm", "");
  if (!is_absent_or_with(weight, self) || !is_absent_or_with(bias, self)) {
    torch::jit::Stack stack{self, shape, weight, bias, eps};
    route(op, kNpuKeys, &stack);
    return {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor()};
  }
  const LaunchSite site = site_of("aten::native_layer_norm", self);
  HostViews views(site.stream);
  const Tensor host = views.to_host(self);
  const std::optional<Tensor> host_weight =
      weight.has_value() ? std::optional(views.to_host(*weight)) : weight;
  const std::optional<Tensor> host_bias =
      bias.has_value() ? std::optional(views.to_host(*bias)) : bias;
  auto [out, mean, rstd] = host_call(site.stream, [&] {
    return at::cpu::native_layer_norm(host, shape, host_weight, host_bias, eps);
  });
  Tensor result = views.to_npu(std::move(out));
  std::tuple<Tensor, Tensor, Tensor> results{std::move(result), views.to_npu(std::move(mean)),
                                             views.to_npu(std::move(rstd))};
  const auto& [normed, means, deviations] = results;
  Touched touched({&self}, {&normed, &means, &deviations});
  if (weight.has_value()) touched.reads(*weight);
  if (bias.has_value()) touched.reads(*bias);
  runtime::record(site, work_of::layer_norm(self, normed, c10::multiply_integers(shape)),
                  touched.footprint());
  return results;
}

Tensor cat(const at::ITensorListRef& tensors, std::int64_t dim) {
  static const auto op = find("aten::cat", "");
  c10::SmallVector<Tensor, 8> parts;
  bool one_card = true;
  for (const Tensor& tensor : tensors) {
    parts.push_back(tensor);
    one_card = one_card && on_one_card(parts.front(), tensor);
  }
  if (!one_card || parts.empty())
    return by_route<Tensor>(op, c10::List<Tensor>(at::ArrayRef<Tensor>(parts)), dim);
  const LaunchSite site = site_of("aten::cat", parts.front());
  HostViews views(site.stream);
  c10::SmallVector<Tensor, 8> hosts;
  for (const Tensor& part : parts) hosts.push_back(views.to_host(part));
  Tensor out = views.to_npu(
      host_call(site.stream, [&] { return at::cpu::cat(at::ArrayRef<Tensor>(hosts), dim); }));
  Touched touched({}, {&out});
  for (const Tensor& part : parts) touched.reads(part);
  runtime::record(site, work_of::concatenate(out, parts, dim), touched.footprint());
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_softmax", &softmax);
  m.impl("add.Tensor", &add);
  m.impl("bmm", &bmm);
  m.impl("cat", &cat);
  m.impl("div.Tensor", &div);
  m.impl("mm", &mm);
  m.impl("mul.Tensor", &mul);
  m.impl("native_layer_norm", &native_layer_norm);
  m.impl("sub.Tensor", &sub);
}

}  // namespace
}  // namespace npu_sim::aten
