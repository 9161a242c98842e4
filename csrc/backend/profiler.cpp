// Registers the simulated cards with torch.profiler (ProfilerActivity.PrivateUse1).
#include <torch/csrc/profiler/standalone/privateuse1_profiler.h>

#include "backend/profiler_session.h"

namespace npu_sim::backend {
namespace {

class NpuProfiler final : public libkineto::IActivityProfiler {
 public:
  [[nodiscard]] const std::string& name() const override { return name_; }

  [[nodiscard]] const std::set<libkineto::ActivityType>& availableActivities() const override {
    return activities_;
  }

  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      const std::set<libkineto::ActivityType>& wanted, const libkineto::Config&) override {
    if (!wanted.contains(libkineto::ActivityType::CONCURRENT_KERNEL)) return nullptr;
    return std::make_unique<ProfilerSession>();
  }

  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      std::int64_t, std::int64_t, const std::set<libkineto::ActivityType>& wanted,
      const libkineto::Config& config) override {
    return configure(wanted, config);
  }

 private:
  const std::string name_ = "npu";
  const std::set<libkineto::ActivityType> activities_ = {libkineto::ActivityType::CONCURRENT_KERNEL,
                                                         libkineto::ActivityType::GPU_MEMCPY};
};

REGISTER_PRIVATEUSE1_PROFILER(NpuProfiler);

}  // namespace
}  // namespace npu_sim::backend
