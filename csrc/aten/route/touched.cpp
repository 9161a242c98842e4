#include "aten/route/touched.h"

#include <algorithm>

#include "backend/device_type.h"

namespace npu_sim::aten {

void Touched::add(const at::Tensor& tensor, Ranges& ranges) {
  if (!tensor.defined()) return;
  const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
  if (impl.device_type() != backend::kNpu || !impl.has_storage() || impl.numel() == 0) return;
  const auto base = reinterpret_cast<std::uintptr_t>(impl.unsafe_storage().data());
  if (base == 0 || tensor.is_nested()) return;
  std::int64_t elements = impl.numel();
  if (C10_UNLIKELY(!impl.is_contiguous())) {
    elements = 1;
    for (std::int64_t axis = 0; axis < impl.dim(); ++axis) {
      elements += (impl.size(axis) - 1) * impl.stride(axis);
    }
  }
  const auto item = static_cast<std::int64_t>(impl.itemsize());
  const std::uint64_t begin = base + static_cast<std::uint64_t>(impl.storage_offset() * item);
  const model::AddressRange range{begin, begin + static_cast<std::uint64_t>(elements * item)};
  // What comes twice moves once; lists of hundreds of parameters do not alias one another.
  constexpr std::size_t kCompared = 8;
  for (std::size_t i = 0; i < std::min(ranges.size(), kCompared); ++i) {
    if (ranges[i] == range) return;
  }
  ranges.push_back(range);
}

}  // namespace npu_sim::aten
