// One profile of torch.profiler: a trace of the simulated cards, laid on the profile's wall clock.
#pragma once

#include <libkineto.h>
#include <output_base.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/units.h"
#include "runtime/trace.h"

namespace npu_sim::backend {

// A kernel stands at: wall time when profiling began + simulated time since then. Its duration is
// simulated. So kernels keep their order and spacing; only their place beside the host's wall-clock
// events is a convention.
class ProfilerSession final : public libkineto::IActivityProfilerSession {
 public:
  ~ProfilerSession() override;

  void start() override;
  void stop() override;
  std::vector<std::string> errors() override { return {}; }
  void processTrace(libkineto::ActivityLogger& logger) override;
  void processTrace(libkineto::ActivityLogger& logger,
                    libkineto::getLinkedActivityCallback linked_activity, std::int64_t start_ns,
                    std::int64_t end_ns) override;
  std::unique_ptr<libkineto::DeviceInfo> getDeviceInfo() override { return nullptr; }
  std::vector<libkineto::ResourceInfo> getResourceInfos() override;
  std::unique_ptr<libkineto::CpuTraceBuffer> getTraceBuffer() override;

  // torch brackets each operator with these, which is how a kernel finds the operator it is of.
  void pushCorrelationId(std::uint64_t id) override;
  void popCorrelationId() override;

 private:
  // The simulated host time in which one operator ran: (begin, end].
  struct OperatorSpan {
    base::SimTime begin{};
    base::SimTime end{};
    std::uint64_t id = 0;
  };

  // The innermost operator that ran when the kernel was issued; 0: none.
  [[nodiscard]] std::uint64_t operator_of(const runtime::KernelRecord& record) const;
  void describe(const runtime::KernelRecord& record, libkineto::GenericTraceActivity& out) const;

  bool recording_ = false;
  std::int64_t trace_ = 0;
  std::int64_t wall_start_ns_ = 0;
  runtime::TraceData data_;
  std::mutex operators_mutex_;  // operators come from any thread
  std::vector<OperatorSpan> open_;
  std::vector<OperatorSpan> operators_;  // inner ones before the ones around them
  std::unique_ptr<libkineto::CpuTraceBuffer> buffer_;
};

}  // namespace npu_sim::backend
