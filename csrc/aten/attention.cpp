// F.scaled_dot_product_attention on npu: the same choice and the same kernel as on the CPU, timed
// as the card's fused attention.
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <torch/library.h>

#include "aten/route/host_views.h"

namespace npu_sim::aten {
namespace {

at::Tensor host_of(const at::Tensor& tensor) {
  if (!tensor.is_privateuseone()) return tensor;
  at::Tensor host = host_view(tensor);
  if (tensor.requires_grad()) host.set_requires_grad(true);
  return host;
}

std::int64_t choose(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                    const std::optional<at::Tensor>& mask, double dropout, bool causal,
                    std::optional<double> scale, bool grouped) {
  if (query.is_nested()) return static_cast<std::int64_t>(sdp::SDPBackend::math);
  std::optional<at::Tensor> host_mask;
  if (mask.has_value() && mask->defined()) host_mask = host_of(*mask);
  return at::_fused_sdp_choice(host_of(query), host_of(key), host_of(value), host_mask, dropout,
                               causal, scale, grouped);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("_fused_sdp_choice", &choose); }

}  // namespace
}  // namespace npu_sim::aten

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &npu_sim::aten::choose)
}  // namespace at::native
