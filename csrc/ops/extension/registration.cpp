#include "ops/extension/registration.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ops/contract.h"
#include "ops/refusal.h"
#include "runtime/device.h"

namespace npu_sim::ops {
namespace {

constexpr std::string_view kSchemas[] = {
#include <extension_schemas.inc>
};

constexpr const char* kNamespaces[] = {"custom", "cann_ops_transformer"};

// Operators whose kernels are built for Ascend 910 alone.
// Source: AddConfig in ops/ascendc/src/*/op_host/*_def.cpp of cann-recipes-infer@fbc225d.
constexpr std::string_view kOnlyOn910[] = {
    "dsa_install",
    "dsa_install_functional",
    "dsa_plan",
    "dsa_serve",
    "dsa_serve_functional",
    "npu_dequant_swiglu_clamp_quant",
    "npu_gather_selection_kv_cache",
    "npu_gather_selection_kv_cache_functional",
    "npu_rms_norm_dynamic_quant",
    "npu_swiglu_clip_quant",
};
static_assert(std::ranges::is_sorted(kOnlyOn910));

struct Extension {
  const char* name_space;
  AddKernels add;
};

// A function's static, because other units add to it while the library loads.
std::vector<Extension>& extensions() {
  static auto* const all = new std::vector<Extension>();
  return *all;
}

std::string_view namespace_of(std::string_view schema) {
  return schema.substr(0, schema.find("::"));
}

// What a call without a kernel for its arguments says.
void refuse_extension(const c10::OperatorHandle& handle, c10::DispatchKeySet keys,
                      torch::jit::Stack* stack) {
  const std::string& qualified = handle.operator_name().name;
  const std::string_view name = std::string_view(qualified).substr(qualified.find("::") + 2);
  const std::string& soc = runtime::chip().soc_name;
  TORCH_CHECK(!(std::ranges::binary_search(kOnlyOn910, name) && soc.starts_with("Ascend950")), name,
              ": expected an operator with a kernel for ", soc,
              ", got one that exists for Ascend 910 only (ERR01007 OPS feature not supported)");
  refuse(handle, keys, stack);
}

void define(torch::Library& library, std::string_view qualified) {
  const std::string schema(qualified.substr(qualified.find("::") + 2));
  const std::string name(name_of(schema));
  library.def(schema.c_str());
  library.impl(name.c_str(),
               torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd,
                               torch::CppFunction::makeFromBoxedFunction<&refuse_extension>()));
  if (schema.find("!)") == std::string::npos) return;
  library.impl(name.c_str(),
               torch::dispatch(c10::DispatchKey::ADInplaceOrView,
                               torch::CppFunction::makeFromBoxedFunction<&count_versions>()));
}

std::unique_ptr<torch::Library> make_library(const char* name_space) {
  auto library = std::make_unique<torch::Library>(torch::Library::FRAGMENT, name_space,
                                                  std::nullopt, __FILE__, __LINE__);
  for (const std::string_view schema : kSchemas) {
    if (namespace_of(schema) == name_space) define(*library, schema);
  }
  for (const Extension& extension : extensions()) {
    if (std::string_view(extension.name_space) == name_space) extension.add(*library);
  }
  return library;
}

}  // namespace

bool extend(const char* name_space, AddKernels add) {
  extensions().push_back({.name_space = name_space, .add = add});
  return true;
}

void enable_extension() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Never destroyed: the dispatcher may be gone before static objects are.
    static auto* const libraries = new std::vector<std::unique_ptr<torch::Library>>();
    for (const char* const name_space : kNamespaces) libraries->push_back(make_library(name_space));
  });
}

std::span<const std::string_view> extension_schemas() { return kSchemas; }

}  // namespace npu_sim::ops
