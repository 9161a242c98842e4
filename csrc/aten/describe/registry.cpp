#include "aten/describe/registry.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "aten/describe/card_operators.h"
#include "aten/describe/entry.h"
#include "aten/describe/operands.h"

namespace npu_sim::aten {
namespace {

using Table = std::unordered_map<std::string, const Entry*>;

constexpr std::string_view without_overload(std::string_view name) {
  return name.substr(0, name.find('.'));
}

// "scatter_.reduce" -> "scatter.reduce": entries and operators meet under functional names. One
// that says its namespace ("custom::npu_hc_pre") keeps it, as names repeat there.
std::string functional_name(std::string_view name) {
  if (name.find("::") != std::string_view::npos) return std::string(name);
  std::string key(base_name(name));
  if (const auto dot = name.find('.'); dot != std::string_view::npos) key += name.substr(dot);
  return key;
}

// A function's static, because other units add to it while the library loads.
std::vector<Entries>& further_families() {
  static auto* const families = new std::vector<Entries>();
  return *families;
}

Table make_table() {
  using Family = Entries (*)();
  constexpr Family kFamilies[] = {
      activation_entries,  arithmetic_entries, attention_entries,        complex_entries,
      convolution_entries, copy_entries,       factory_entries,          foreach_entries,
      fourier_entries,     function_entries,   gather_entries,           linalg_entries,
      logic_entries,       loss_entries,       matmul_entries,           norm_entries,
      optimizer_entries,   pooling_entries,    quantized_entries,        random_entries,
      reduction_entries,   resampling_entries, scatter_entries,          softmax_entries,
      sort_entries,        sparse_entries,     special_function_entries, view_entries,
  };
  Table table;
  for (const Family family : kFamilies) {
    for (const Entry& entry : family()) table.emplace(functional_name(entry.name), &entry);
  }
  for (const Entries family : further_families()) {
    for (const Entry& entry : family) table.emplace(functional_name(entry.name), &entry);
  }
  return table;
}

// expand_copy, permute_copy ...: a view operator's copying variant.
bool is_copying_view(std::string_view base) {
  constexpr std::string_view kSuffix = "_copy";
  if (!base.ends_with(kSuffix)) return false;
  base.remove_suffix(kSuffix.size());
  const Entries views = view_entries();
  return std::ranges::any_of(views, [&](const Entry& view) { return view.name == base; });
}

const Entry* find_entry(const c10::OperatorName& name) {
  static const Table table = make_table();
  const auto qualified = table.find(name.name);
  if (qualified != table.end()) return qualified->second;
  const std::string base(base_name(name.name));
  if (!name.overload_name.empty()) {
    const auto overload = table.find(base + "." + name.overload_name);
    if (overload != table.end()) return overload->second;
  }
  const auto entry = table.find(base);
  if (entry != table.end()) return entry->second;
  return is_copying_view(base) ? table.find("clone")->second : nullptr;
}

model::Work undescribed(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::UndescribedWork{.read = traffic.read, .written = traffic.written};
}

model::Work on_host(const Call& call) {
  const Traffic traffic = traffic_of(call);
  return model::HostWork{.to_host = traffic.read,
                         .to_device = traffic.written,
                         .host_traffic = traffic.read + traffic.written};
}

bool launches_nothing(const Entry& entry) {
  const Entries views = view_entries();
  return std::ranges::any_of(views, [&](const Entry& view) { return &view == &entry; });
}

}  // namespace

bool add_entries(Entries entries) {
  further_families().push_back(entries);
  return true;
}

std::string_view base_name(std::string_view qualified) {
  if (const auto space = qualified.find("::"); space != std::string_view::npos) {
    qualified.remove_prefix(space + 2);
  }
  std::string_view base = without_overload(qualified);
  const bool dunder = base.starts_with("__");
  if (!dunder && base.size() > 1 && base.ends_with('_')) base.remove_suffix(1);
  return base;
}

bool is_native(const c10::OperatorName& name) {
  const std::string_view base = base_name(name.name);
  return is_card_operator(base) || is_composed_on_card(base) || is_copying_view(base);
}

Description describe(const c10::OperatorName& name) {
  const Entry* entry = find_entry(name);
  if (entry != nullptr && launches_nothing(*entry)) {
    return {.describer = entry->describer, .nested = entry->describer};
  }
  const bool aten = std::string_view(name.name).starts_with("aten::");
  if (aten && !is_native(name)) {
    return {.describer = on_host, .nested = on_host, .native = false};
  }
  if (entry == nullptr) {
    return {.describer = undescribed, .nested = undescribed, .described = false};
  }
  return {.describer = entry->describer, .rest = entry->rest, .nested = undescribed};
}

}  // namespace npu_sim::aten
