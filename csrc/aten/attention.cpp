// F.scaled_dot_product_attention on npu: the same choice and the same kernel as on the CPU, timed
// as the card's fused attention.
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/_fused_sdp_choice_ops.h>
#include <torch/library.h>

namespace npu_sim::aten {
namespace {

// A CPU tensor of the same geometry without bytes. The choice rests on shapes, dtypes and flags
// only, and tensors of vmap or FakeTensorMode have no bytes to view.
at::Tensor outline(const at::Tensor& tensor) {
  if (!tensor.is_privateuseone()) return tensor;
  auto shell = c10::make_intrusive<c10::TensorImpl>(c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                    tensor.dtype(), at::kCPU);
  shell->set_sizes_and_strides(tensor.sym_sizes(), tensor.sym_strides());
  at::Tensor host(std::move(shell));
  if (tensor.requires_grad()) host.set_requires_grad(true);
  return host;
}

// The CPU's kernel itself: calling the operator would show the outlines to FakeTensorMode.
std::int64_t choose(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                    const std::optional<at::Tensor>& mask, double dropout, bool causal,
                    std::optional<double> scale, bool grouped) {
  if (query.is_nested()) return static_cast<std::int64_t>(sdp::SDPBackend::math);
  std::optional<at::Tensor> host_mask;
  if (mask.has_value() && mask->defined()) host_mask = outline(*mask);
  return at::_ops::_fused_sdp_choice::redispatch(c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                 outline(query), outline(key), outline(value),
                                                 host_mask, dropout, causal, scale, grouped);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("_fused_sdp_choice", &choose); }

}  // namespace
}  // namespace npu_sim::aten

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &npu_sim::aten::choose)
}  // namespace at::native
