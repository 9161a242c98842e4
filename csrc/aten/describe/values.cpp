#include "aten/describe/values.h"

#include "backend/storage.h"

namespace npu_sim::aten {
namespace {

using Integers = std::vector<std::int64_t>;

// Appends the elements below `first` in the order of the axes from `axis` on.
template <class Integer>
void append(const at::Tensor& tensor, std::int64_t axis, const Integer* first, Integers& found) {
  if (axis == tensor.dim()) {
    found.push_back(static_cast<std::int64_t>(*first));
    return;
  }
  for (std::int64_t i = 0; i < tensor.size(axis); ++i) {
    append(tensor, axis + 1, first + i * tensor.stride(axis), found);
  }
}

std::optional<Integers> integers_of(const at::Tensor& tensor) {
  const bool integral =
      tensor.defined() && (tensor.scalar_type() == at::kInt || tensor.scalar_type() == at::kLong);
  if (!integral || tensor.is_meta() || !tensor.has_storage()) return std::nullopt;
  const c10::Storage host =
      tensor.is_cpu() ? tensor.storage() : backend::host_storage(tensor.storage());
  Integers found;
  if (tensor.numel() == 0) return found;
  if (host.data() == nullptr) return std::nullopt;
  found.reserve(static_cast<std::size_t>(tensor.numel()));
  const auto append_from = [&]<class Integer>(const Integer* base) {
    append(tensor, 0, base + tensor.storage_offset(), found);
  };
  if (tensor.scalar_type() == at::kInt) {
    append_from(static_cast<const std::int32_t*>(host.data()));
  } else {
    append_from(static_cast<const std::int64_t*>(host.data()));
  }
  return found;
}

}  // namespace

std::optional<Integers> integers_at(const Call& call, std::size_t index) {
  if (index >= call.arguments.size()) return std::nullopt;
  const c10::IValue& value = call.arguments[index];
  if (value.isIntList()) return value.toIntVector();
  return value.isTensor() ? integers_of(value.toTensor()) : std::nullopt;
}

}  // namespace npu_sim::aten
