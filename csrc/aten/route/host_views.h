// Npu tensors as CPU tensors over the same bytes, for the length of one operator call, and the CPU
// results of that call as npu tensors. No byte is copied either way.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include "runtime/stream.h"

namespace npu_sim::aten {

// Both cost time, so only for kernels that ask.
struct ViewOptions {
  bool keep_requires_grad = false;  // views require a gradient where their npu tensors do
  bool one_view_each = false;  // a tensor that is given twice is one view: resized in both places
};

class HostViews {
 public:
  explicit HostViews(runtime::StreamId stream, ViewOptions options = {})
      : stream_(stream), options_(options) {}

  // The CPU view of an npu tensor; anything else (CPU scalars, undefined) comes back unchanged.
  [[nodiscard]] at::Tensor to_host(const at::Tensor& tensor);

  // The npu tensor a CPU result stands for: the argument itself, a view on an argument's storage,
  // or a fresh tensor that takes over the result's memory.
  [[nodiscard]] at::Tensor to_npu(at::Tensor result);

  // Writes back what the kernel did to the shape or the storage of a written argument.
  void follow(const at::Tensor& tensor);

  // After a kernel that threw: whatever it has resized, no npu tensor keeps bytes that are gone,
  // and none has a shape that its storage cannot hold.
  void follow_failed() noexcept;

  // The npu device results go to.
  [[nodiscard]] c10::Device device() const;

 private:
  struct Pair {
    at::Tensor host;
    c10::TensorImpl* npu;  // the caller holds it
  };

  [[nodiscard]] at::Tensor dense_to_host(const at::Tensor& tensor) const;
  [[nodiscard]] at::Tensor strided_to_npu(at::Tensor result);
  [[nodiscard]] c10::Storage to_npu(const c10::Storage& host);

  runtime::StreamId stream_;
  ViewOptions options_;
  c10::SmallVector<Pair, 4> pairs_;
  c10::SmallVector<std::pair<const c10::StorageImpl*, c10::Storage>, 1> fresh_;
};

// A CPU view of one dense npu tensor, for typed kernels that know what they do.
[[nodiscard]] at::Tensor host_view(const at::Tensor& tensor);

// A new npu tensor over `storage` with the geometry of `like` (a tensor of any device).
[[nodiscard]] at::Tensor make_npu_tensor(c10::Storage storage, const at::Tensor& like);

}  // namespace npu_sim::aten
