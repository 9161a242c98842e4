// CPU views of tensors that are not plain dense: quantized, sparse, compressed sparse, nested.
#pragma once

#include <ATen/core/Tensor.h>

namespace npu_sim::aten {

class HostViews;

[[nodiscard]] at::Tensor layout_to_host(const at::Tensor& tensor, HostViews& views);
[[nodiscard]] at::Tensor layout_to_npu(const at::Tensor& result, HostViews& views);
// `tensor` was written through `host`: takes over its new parts and shape.
void layout_follow(const c10::TensorImpl& host, const at::Tensor& tensor, HostViews& views);

}  // namespace npu_sim::aten
