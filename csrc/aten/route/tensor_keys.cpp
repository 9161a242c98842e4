#include "aten/route/tensor_keys.h"

namespace npu_sim::aten {
namespace {

using c10::BackendComponent;
using c10::DispatchKey;
using c10::DispatchKeySet;

DispatchKeySet exchange(DispatchKeySet keys, BackendComponent from, BackendComponent to,
                        DispatchKey autocast_from, DispatchKey autocast_to) {
  if (!keys.has_backend(from)) return keys;
  const bool autocast = keys.has(autocast_from);
  keys = keys.remove_backend(from).remove(autocast_from) | DispatchKeySet(to);
  return autocast ? keys.add(autocast_to) : keys;
}

// Names the protected members torch gives no setter for; never instantiated.
struct Members : c10::TensorImpl {
  static constexpr auto kKeys = &Members::key_set_;
  static constexpr auto kDevice = &Members::device_opt_;
};

}  // namespace

DispatchKeySet npu_keys(DispatchKeySet keys) {
  return exchange(keys, BackendComponent::CPUBit, BackendComponent::PrivateUse1Bit,
                  DispatchKey::AutocastCPU, DispatchKey::AutocastPrivateUse1);
}

DispatchKeySet host_keys(DispatchKeySet keys) {
  return exchange(keys, BackendComponent::PrivateUse1Bit, BackendComponent::CPUBit,
                  DispatchKey::AutocastPrivateUse1, DispatchKey::AutocastCPU);
}

void become_npu(c10::TensorImpl& tensor, c10::Device device) {
  tensor.*Members::kKeys = npu_keys(tensor.key_set());
  tensor.*Members::kDevice = device;
}

}  // namespace npu_sim::aten
