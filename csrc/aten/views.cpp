// Views: new tensors over the same storage. They launch nothing; only the host pays.
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <torch/library.h>

#include "backend/device_type.h"
#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

at::Tensor counted(at::Tensor view, std::string_view op) {
  runtime::record({op, {.device = view.device().index(), .index = 0}}, model::NoWork{});
  return view;
}

at::Tensor as_strided(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride,
                      std::optional<std::int64_t> offset) {
  return counted(at::native::as_strided_tensorimpl(self, size, stride, offset), "aten::as_strided");
}

at::Tensor as_strided_quantized(const at::Tensor& self, at::IntArrayRef size,
                                at::IntArrayRef stride, std::optional<std::int64_t> offset) {
  return counted(at::native::as_strided_qtensorimpl(self, size, stride, offset),
                 "aten::as_strided");
}

at::Tensor view(const at::Tensor& self, at::IntArrayRef size) {
  return counted(at::native::view(self, size), "aten::view");
}

at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride) {
  return counted(at::native::_reshape_alias(self, size, stride), "aten::_reshape_alias");
}

at::Tensor unfold(const at::Tensor& self, std::int64_t dim, std::int64_t size, std::int64_t step) {
  return counted(at::native::unfold(self, dim, size, step), "aten::unfold");
}

at::Tensor view_as_real(const at::Tensor& self) {
  return counted(at::native::view_as_real(self), "aten::view_as_real");
}

at::Tensor view_as_complex(const at::Tensor& self) {
  return counted(at::native::view_as_complex(self), "aten::view_as_complex");
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("as_strided", &as_strided);
  m.impl("view", &view);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("unfold", &unfold);
  m.impl("view_as_real", &view_as_real);
  m.impl("view_as_complex", &view_as_complex);
}

TORCH_LIBRARY_IMPL(aten, QuantizedPrivateUse1, m) {
  m.impl("as_strided", &as_strided_quantized);
  m.impl("view", &view);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("unfold", &unfold);
}

}  // namespace
}  // namespace npu_sim::aten
