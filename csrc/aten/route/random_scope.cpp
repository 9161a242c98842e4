#include "aten/route/random_scope.h"

#include <utility>

#include "backend/generator.h"

namespace npu_sim::aten {
namespace {

struct State {
  at::mt19937 engine;
  std::optional<float> next_float;
  std::optional<double> next_double;
};

State take(at::CPUGeneratorImpl& generator) {
  return {generator.engine(), generator.next_float_normal_sample(),
          generator.next_double_normal_sample()};
}

void put(at::CPUGeneratorImpl& generator, const State& state) {
  generator.set_engine(state.engine);
  generator.set_next_float_normal_sample(state.next_float);
  generator.set_next_double_normal_sample(state.next_double);
}

std::mutex& turns() {
  static auto* const mutex = new std::mutex();  // outlives threads that still dispatch at exit
  return *mutex;
}

}  // namespace

RandomScope::RandomScope(c10::DeviceIndex device) : turn_(turns()), device_(device) { exchange(); }
RandomScope::~RandomScope() { exchange(); }

void RandomScope::exchange() {
  auto& host = *at::detail::getDefaultCPUGenerator().get<at::CPUGeneratorImpl>();
  const at::Generator& npu = backend::host_generator(backend::default_generator(device_));
  auto& card = *npu.get<at::CPUGeneratorImpl>();
  const std::scoped_lock lock(host.mutex_, card.mutex_);
  const State host_state = take(host);
  put(host, take(card));
  put(card, host_state);
}

}  // namespace npu_sim::aten
