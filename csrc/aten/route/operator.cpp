#include "aten/route/operator.h"

#include <ATen/core/enum_tag.h>
#include <c10/util/flat_hash_map.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "runtime/launch.h"

namespace npu_sim::aten {
namespace {

// Operators whose lengths, sizes or indices torch.cuda too takes from the host.
constexpr std::array<std::string_view, 15> kTakeHostTensors = {
    "aten::_ctc_loss",
    "aten::_ctc_loss_backward",
    "aten::_index_put_impl",
    "aten::_index_put_impl_",
    "aten::_nested_view_from_buffer",
    "aten::_nested_view_from_buffer_copy",
    "aten::_pack_padded_sequence",
    "aten::_pack_padded_sequence_backward",
    "aten::_unsafe_index",
    "aten::_unsafe_index_put",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::repeat_interleave",
    "aten::_pad_packed_sequence",
};

// CPU kernels that keep more, or choose another algorithm, when a backward may follow.
constexpr std::array<std::string_view, 2> kAskRequiresGrad = {
    "aten::_sparse_mm_reduce_impl",
    "aten::convolution",
};

ArgumentKind kind_of(const c10::Type& type) {
  const c10::Type* inner = &type;
  if (const auto* optional = type.castRaw<c10::OptionalType>())
    inner = optional->getElementType().get();
  if (inner->kind() == c10::TypeKind::TensorType) return ArgumentKind::kTensor;
  if (inner->kind() == c10::TypeKind::GeneratorType) return ArgumentKind::kGenerator;
  if (inner->kind() == c10::TypeKind::DeviceObjType) return ArgumentKind::kDevice;
  if (const auto* list = inner->castRaw<c10::ListType>()) {
    const c10::Type& element = *list->getElementType();
    if (element.kind() == c10::TypeKind::TensorType) return ArgumentKind::kTensorList;
    if (element.kind() == c10::TypeKind::OptionalType &&
        kind_of(element) == ArgumentKind::kTensor) {
      return ArgumentKind::kOptionalTensorList;
    }
  }
  return ArgumentKind::kOther;
}

std::string full_name(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

bool is_tensor_type(const c10::Argument& result) {
  const ArgumentKind kind = kind_of(*result.type());
  return kind == ArgumentKind::kTensor || kind == ArgumentKind::kTensorList;
}

// The host goes on only when it has the kernel's answer: a number, or a length that depends on
// values. Numbers beside tensors (the longest sequence, of attention kernels) come from shapes.
bool needs_values(const c10::OperatorHandle& handle) {
  if (handle.hasTag(at::Tag::data_dependent_output) || handle.hasTag(at::Tag::dynamic_output_shape))
    return true;
  const auto& results = handle.schema().returns();
  return !results.empty() && std::ranges::none_of(results, &is_tensor_type);
}

// Of an operator that indexes, the indices may lie on the host; of the others, all but the first.
void allow_host_tensors(Operator& entry) {
  for (std::size_t i = 1; i < entry.arguments.size(); ++i) {
    entry.arguments[i].may_be_host =
        !entry.indexes || entry.arguments[i].kind == ArgumentKind::kOptionalTensorList;
  }
}

Operator read(const c10::OperatorHandle& handle) {
  const c10::FunctionSchema& schema = handle.schema();
  Operator entry;
  entry.name = runtime::intern(full_name(schema.operator_name()));
  bool takes_generator = false;
  for (const c10::Argument& argument : schema.arguments()) {
    const ArgumentKind kind = kind_of(*argument.real_type());
    takes_generator |= kind == ArgumentKind::kGenerator;
    const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    entry.arguments.push_back(
        {.kind = kind, .written = written, .only_written = written && argument.is_out()});
    entry.writes_tensors |= written && kind == ArgumentKind::kTensor;
    if (kind == ArgumentKind::kDevice) entry.device_argument = std::ssize(entry.arguments) - 1;
    entry.indexes |= kind == ArgumentKind::kOptionalTensorList;
  }
  entry.results = schema.returns().size();
  entry.description = describe(schema.operator_name());
  if (std::ranges::find(kTakeHostTensors, schema.name()) != kTakeHostTensors.end())
    allow_host_tensors(entry);
  entry.asks_requires_grad =
      std::ranges::find(kAskRequiresGrad, schema.name()) != kAskRequiresGrad.end();
  // ADInplaceOrView, which bumps versions of other operators, does not know written lists. On the
  // CPU the per-tensor operators inside bump them, on torch.cuda the kernels do.
  entry.counts_versions = schema.name().starts_with("aten::_foreach_");
  entry.draws_default_random = !takes_generator && handle.hasTag(at::Tag::nondeterministic_seeded);
  entry.answers_host = needs_values(handle);
  return entry;
}

struct Table {
  std::mutex mutex;
  std::unordered_map<c10::OperatorName, std::unique_ptr<Operator>> entries;
};

Table& table() {
  static auto* const instance = new Table();  // outlives threads that still dispatch at exit
  return *instance;
}

const Operator& look_up(const c10::OperatorHandle& handle) {
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::unique_ptr<Operator>& entry = all.entries[handle.operator_name()];
  // A library may be unloaded and register another schema under the name.
  if (entry == nullptr || entry->arguments.size() != handle.schema().arguments().size()) {
    // Callers may still hold the old entry: it stays alive.
    static_cast<void>(entry.release());
    entry = std::make_unique<Operator>(read(handle));
  }
  return *entry;
}

}  // namespace

const Operator& operator_of(const c10::OperatorHandle& handle) {
  thread_local ska::flat_hash_map<const void*, std::pair<const Operator*, std::size_t>> cache;
  const c10::OperatorName& name = handle.operator_name();
  const auto found = cache.find(&name);
  const std::size_t arity = handle.schema().arguments().size();
  if (C10_LIKELY(found != cache.end())) {
    const auto& [entry, length] = found->second;
    if (C10_LIKELY(entry->arguments.size() == arity && entry->name.starts_with(name.name) &&
                   entry->name.size() == length)) {
      return *entry;
    }
  }
  const Operator& entry = look_up(handle);
  cache[&name] = {&entry, entry.name.size()};
  return entry;
}

c10::List<std::optional<at::Tensor>> optional_tensors(const c10::IValue& value) {
  if (C10_LIKELY(value.isOptionalTensorList())) return value.toOptionalTensorList();
  c10::List<std::optional<at::Tensor>> tensors;
  for (const c10::IValue& tensor : value.toListRef())
    tensors.push_back(tensor.toOptional<at::Tensor>());
  return tensors;
}

}  // namespace npu_sim::aten
