// Random numbers on npu: torch's own CPU generator under an npu device, so that a seed gives the
// same numbers on both.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>

namespace npu_sim::backend {

class NpuGenerator final : public c10::GeneratorImpl {
 public:
  NpuGenerator(c10::DeviceIndex device, std::uint64_t seed);

  void set_current_seed(std::uint64_t seed) override;
  void set_offset(std::uint64_t offset) override;
  std::uint64_t get_offset() const override;
  std::uint64_t current_seed() const override;
  std::uint64_t seed() override;
  void set_state(const c10::TensorImpl& state) override;
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override;
  void graphsafe_set_state(const c10::intrusive_ptr<c10::GeneratorImpl>& state) override;
  c10::intrusive_ptr<c10::GeneratorImpl> graphsafe_get_state() const override;
  static c10::DeviceType device_type();

  // The generator CPU kernels draw from.
  [[nodiscard]] const at::Generator& host() const { return host_; }

 private:
  NpuGenerator* clone_impl() const override;

  at::Generator host_;
};

// The device's default generator; -1: the current device.
[[nodiscard]] const at::Generator& default_generator(c10::DeviceIndex device);

// The CPU generator behind an npu generator.
// Throws if `generator` is not on npu.
[[nodiscard]] const at::Generator& host_generator(const at::Generator& generator);

}  // namespace npu_sim::backend
