#include "backend/generator.h"

#include <ATen/Utils.h>

#include <vector>

#include "backend/device_type.h"

namespace npu_sim::backend {

NpuGenerator::NpuGenerator(c10::DeviceIndex device, std::uint64_t seed)
    : c10::GeneratorImpl(npu_device(device), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
      host_(at::detail::createCPUGenerator(seed)) {}

void NpuGenerator::set_current_seed(std::uint64_t seed) { host_.set_current_seed(seed); }

void NpuGenerator::set_offset(std::uint64_t offset) { host_.set_offset(offset); }

std::uint64_t NpuGenerator::get_offset() const { return host_.get_offset(); }

std::uint64_t NpuGenerator::current_seed() const { return host_.current_seed(); }

std::uint64_t NpuGenerator::seed() {
  const std::lock_guard<std::mutex> lock(host_.mutex());
  return const_cast<at::Generator&>(host_).seed();
}

void NpuGenerator::set_state(const c10::TensorImpl& state) {
  host_.unsafeGetGeneratorImpl()->set_state(state);
}

c10::intrusive_ptr<c10::TensorImpl> NpuGenerator::get_state() const {
  return host_.unsafeGetGeneratorImpl()->get_state();
}

void NpuGenerator::graphsafe_set_state(const c10::intrusive_ptr<c10::GeneratorImpl>& state) {
  const auto* const other = dynamic_cast<const NpuGenerator*>(state.get());
  TORCH_CHECK_TYPE(
      other != nullptr,
      "graphsafe_set_state: expected the state of an npu generator, got one of device ",
      state->device(), "; take it with graphsafe_get_state() from an npu generator");
  host_ = other->host_;
}

// A generator that shares this one's state: what either draws moves both.
c10::intrusive_ptr<c10::GeneratorImpl> NpuGenerator::graphsafe_get_state() const {
  auto shared = c10::make_intrusive<NpuGenerator>(device().index(), 0);
  shared->host_ = host_;
  return shared;
}

c10::DeviceType NpuGenerator::device_type() { return kNpu; }

NpuGenerator* NpuGenerator::clone_impl() const {
  auto* const copy = new NpuGenerator(device().index(), 0);  // torch takes ownership
  copy->host_ = host_.clone();
  return copy;
}

const at::Generator& default_generator(c10::DeviceIndex device) {
  static auto* const generators = [] {
    auto* const all = new std::vector<at::Generator>();  // alive past static destruction
    for (int index = 0; index < runtime::device_count(); ++index) {
      all->push_back(at::make_generator<NpuGenerator>(static_cast<c10::DeviceIndex>(index),
                                                      c10::default_rng_seed_val));
    }
    return all;
  }();
  const int index = device < 0 ? runtime::current_device() : device;
  TORCH_CHECK_INDEX(index < static_cast<int>(generators->size()),
                    "npu generator: expected a device index below ", generators->size(), ", got ",
                    index, "; NPU_SIM_DEVICES sets how many there are");
  return (*generators)[static_cast<std::size_t>(index)];
}

const at::Generator& host_generator(const at::Generator& generator) {
  TORCH_CHECK(generator.device().type() == kNpu,
              "Expected a 'npu' device type for generator but found '", generator.device().type(),
              "'");
  return generator.get<NpuGenerator>()->host();
}

}  // namespace npu_sim::backend
