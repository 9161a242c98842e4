#include "ops/contract.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/library.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ops/refusal.h"

namespace npu_sim::ops {
namespace {

constexpr std::string_view kSchemas[] = {
#include <schemas.inc>
};

constexpr std::string_view kAclopOnly[] = {
#include <aclop_only.inc>
};
static_assert(std::ranges::is_sorted(kAclopOnly));

constexpr std::string_view kLacking[] = {
#include <lacking.inc>
};
static_assert(std::ranges::is_sorted(kLacking));

// Operators that draw from the card's default generator: the route lends it to the CPU's kernel.
// Source: the tag nondeterministic_seeded in op_plugin_functions.yaml.
constexpr std::string_view kDrawing[] = {"_npu_dropout", "npu_dropout_gen_mask",
                                         "npu_fusion_attention", "npu_fusion_attention_v2",
                                         "npu_sim_exponential_"};

std::vector<at::Tag> tags_of(std::string_view name) {
  const bool draws = std::ranges::find(kDrawing, name) != std::end(kDrawing);
  return draws ? std::vector{at::Tag::nondeterministic_seeded} : std::vector<at::Tag>{};
}

TORCH_LIBRARY(npu, m) {
  for (const std::string_view schema : kSchemas) {
    const std::string name(name_of(schema));
    const std::vector<at::Tag> tags = tags_of(name);
    m.def(std::string(schema).c_str(), tags);
    // What no kernel of ours overrides refuses with its reason, on every device and under tracing.
    m.impl(name.c_str(), torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd,
                                         torch::CppFunction::makeFromBoxedFunction<&refuse>()));
    if (schema.find("!)") != std::string_view::npos) {
      m.impl(name.c_str(),
             torch::dispatch(c10::DispatchKey::ADInplaceOrView,
                             torch::CppFunction::makeFromBoxedFunction<&count_versions>()));
    }
  }
}

}  // namespace

void count_versions(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                    torch::jit::Stack* stack) {
  std::vector<at::Tensor> written;
  const auto& arguments = op.schema().arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* const alias = arguments[i].alias_info();
    const c10::IValue& value = torch::jit::peek(*stack, i, arguments.size());
    if (alias != nullptr && alias->isWrite() && value.isTensor())
      written.push_back(value.toTensor());
  }
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(keys & c10::after_ADInplaceOrView_keyset, stack);
  }
  for (const at::Tensor& tensor : written) torch::autograd::increment_version(tensor);
}

std::span<const std::string_view> schemas() { return kSchemas; }

std::string_view name_of(std::string_view schema) { return schema.substr(0, schema.find('(')); }

bool is_lacking(std::string_view name) {
  return std::ranges::binary_search(kAclopOnly, name) || std::ranges::binary_search(kLacking, name);
}

}  // namespace npu_sim::ops
