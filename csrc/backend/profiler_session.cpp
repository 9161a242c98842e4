#include "backend/profiler_session.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "runtime/device.h"

namespace npu_sim::backend {
namespace {

std::int64_t wall_now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

std::int64_t to_ns(base::SimTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

bool is_copy(const runtime::KernelRecord& record) {
  return std::holds_alternative<model::CopyWork>(record.work);
}

}  // namespace

ProfilerSession::~ProfilerSession() {
  if (recording_) stop();
}

void ProfilerSession::start() {
  wall_start_ns_ = wall_now_ns();
  trace_ = runtime::start_trace();
  recording_ = true;
}

void ProfilerSession::stop() {
  if (!recording_) return;
  recording_ = false;
  data_ = runtime::stop_trace(trace_);
}

void ProfilerSession::pushCorrelationId(std::uint64_t id) {
  const std::lock_guard lock(operators_mutex_);
  if (recording_) open_.push_back({.begin = runtime::host_now(), .end = {}, .id = id});
}

void ProfilerSession::popCorrelationId() {
  const std::lock_guard lock(operators_mutex_);
  if (open_.empty()) return;
  OperatorSpan span = open_.back();
  open_.pop_back();
  span.end = runtime::host_now();
  if (span.end > span.begin) operators_.push_back(span);
}

std::uint64_t ProfilerSession::operator_of(const runtime::KernelRecord& record) const {
  const auto first = std::ranges::lower_bound(operators_, record.issued, {}, &OperatorSpan::end);
  const auto found = std::find_if(first, operators_.end(), [&record](const OperatorSpan& span) {
    return span.begin < record.issued && record.issued <= span.end;
  });
  return found == operators_.end() ? 0 : found->id;
}

void ProfilerSession::describe(const runtime::KernelRecord& record,
                               libkineto::GenericTraceActivity& out) const {
  out.startTime = wall_start_ns_ + to_ns(record.start - data_.begin);
  out.endTime = wall_start_ns_ + to_ns(record.end - data_.begin);
  out.device = record.stream.device;
  out.resource = record.stream.index;
  out.threadId = record.stream.index;
  out.id = static_cast<std::int32_t>(operator_of(record));
  out.addMetadata("device", record.stream.device);
  out.addMetadata("stream", record.stream.index);
  out.addMetadataQuoted("op", std::string(record.op));
  out.addMetadataQuoted("bound", std::string(model::name(record.time.bound)));
  out.addMetadata("bytes read", record.time.bytes_read.count());
  out.addMetadata("bytes written", record.time.bytes_written.count());
  out.addMetadata("flops", record.time.flops.count());
}

void ProfilerSession::processTrace(libkineto::ActivityLogger& logger) {
  processTrace(
      logger, [](std::int32_t) { return nullptr; }, 0, 0);
}

void ProfilerSession::processTrace(libkineto::ActivityLogger& logger,
                                   libkineto::getLinkedActivityCallback linked_activity,
                                   std::int64_t, std::int64_t) {
  const std::int64_t wall_end_ns = wall_start_ns_ + to_ns(data_.end - data_.begin);
  buffer_ = std::make_unique<libkineto::CpuTraceBuffer>();
  buffer_->span = libkineto::TraceSpan(wall_start_ns_, wall_end_ns, "npu");
  for (const runtime::KernelRecord& record : data_.kernels) {
    const auto type = is_copy(record) ? libkineto::ActivityType::GPU_MEMCPY
                                      : libkineto::ActivityType::CONCURRENT_KERNEL;
    buffer_->emplace_activity(buffer_->span, type, std::string(record.name));
    libkineto::GenericTraceActivity& activity = *buffer_->activities.back();
    describe(record, activity);
    if (activity.id != 0) activity.linked = linked_activity(activity.id);
    logger.handleGenericActivity(activity);
  }
}

std::vector<libkineto::ResourceInfo> ProfilerSession::getResourceInfos() {
  std::set<runtime::StreamId> streams;
  for (const runtime::KernelRecord& record : data_.kernels) streams.insert(record.stream);
  std::vector<libkineto::ResourceInfo> out;
  for (const runtime::StreamId stream : streams) {
    out.push_back(
        {stream.index, stream.index, stream.device,
         "npu:" + std::to_string(stream.device) + " stream " + std::to_string(stream.index)});
  }
  return out;
}

std::unique_ptr<libkineto::CpuTraceBuffer> ProfilerSession::getTraceBuffer() {
  return std::move(buffer_);
}

}  // namespace npu_sim::backend
