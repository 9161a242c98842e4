#include "aten/describe/operands.h"

#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>
#include <c10/util/SmallVector.h>

#include <algorithm>

namespace npu_sim::aten {
namespace {

using base::Bytes;
using base::Format;

const at::Tensor& undefined() {
  static const at::Tensor tensor;
  return tensor;
}

Bytes sparse_bytes(const at::Tensor& tensor) {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (tensor.layout() == c10::kSparse) {
    const auto* coo = static_cast<const at::SparseTensorImpl*>(impl);
    return bytes_of(coo->indices()) + bytes_of(coo->values());
  }
  const auto* compressed = static_cast<const at::SparseCsrTensorImpl*>(impl);
  return bytes_of(compressed->compressed_indices()) + bytes_of(compressed->plain_indices()) +
         bytes_of(compressed->values());
}

Bytes strided_bytes(const at::Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  auto elements = static_cast<std::int64_t>(tensor.element_size());
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] == 0) return Bytes(0);
    if (strides[axis] != 0) elements *= sizes[axis];
  }
  return Bytes(elements);
}

// How strongly an operand's format decides what the kernel computes in.
int rank_of(Format format) {
  switch (format) {
    case Format::kComplex128: return 9;
    case Format::kComplex64: return 8;
    case Format::kComplex32: return 7;
    case Format::kFp64: return 6;
    case Format::kFp32: return 5;
    case Format::kBf16:
    case Format::kFp16: return 4;
    case Format::kInt64: return 3;
    case Format::kInt32: return 2;
    case Format::kInt16: return 1;
    case Format::kInt8:
    case Format::kUint8: return 0;
    case Format::kBool: return -1;
    default: return 3;  // narrow floats are unpacked, but a wider operand decides
  }
}

// Gathers operands; a tensor object that was seen as an input is not read twice.
class TrafficCounter {
 public:
  void read(const at::Tensor& tensor) {
    if (!tensor.defined() || !is_new(tensor)) return;
    traffic_.read += bytes_of(tensor);
    largest_input_ = std::max(largest_input_, tensor.numel());
    note_format(tensor);
  }

  void write(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    has_result_ = true;
    traffic_.written += bytes_of(tensor);
    traffic_.elements = std::max(traffic_.elements, tensor.numel());
    note_format(tensor);
  }

  [[nodiscard]] Traffic finish() {
    if (!has_result_) traffic_.elements = largest_input_;
    traffic_.compute = formats_.empty() ? Format::kFp32 : formats_.front();
    for (const Format format : formats_) {
      if (rank_of(format) > rank_of(traffic_.compute)) traffic_.compute = format;
    }
    for (const Format format : formats_) traffic_.converts += format != traffic_.compute ? 1 : 0;
    return traffic_;
  }

 private:
  bool is_new(const at::Tensor& tensor) {
    const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
    // Lists of hundreds of parameters do not alias one another; looking would be quadratic.
    constexpr std::size_t kRemembered = 8;
    if (std::find(seen_.begin(), seen_.end(), impl) != seen_.end()) return false;
    if (seen_.size() < kRemembered) seen_.push_back(impl);
    return true;
  }

  void note_format(const at::Tensor& tensor) {
    const Format format = format_of(tensor);
    // A 0-dim operand is a number in a register: it neither streams nor promotes.
    if (tensor.dim() == 0 && !formats_.empty()) return;
    if (std::find(formats_.begin(), formats_.end(), format) == formats_.end()) {
      formats_.push_back(format);
    }
  }

  Traffic traffic_;
  std::int64_t largest_input_ = 0;
  bool has_result_ = false;
  c10::SmallVector<const c10::TensorImpl*, 8> seen_;
  c10::SmallVector<Format, 4> formats_;
};

template <class Visit>
void visit_tensors(const c10::IValue& value, Visit&& visit) {
  if (value.isTensor()) {
    visit(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) {
      if (item.isTensor()) visit(item.toTensor());
    }
  }
}

// How many trailing arguments are out= tensors: as many as there are results, each one returned.
std::size_t count_outs(const Call& call) {
  const std::size_t results = call.results.size();
  if (results == 0 || call.arguments.size() <= results) return 0;
  const std::size_t first = call.arguments.size() - results;
  for (std::size_t i = 0; i < results; ++i) {
    const c10::IValue& argument = call.arguments[first + i];
    const c10::IValue& result = call.results[i];
    if (!argument.isTensor() || !result.isTensor()) return 0;
    if (!argument.toTensor().is_same(result.toTensor())) return 0;
  }
  return results;
}

const at::Tensor& first_tensor(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) {
      if (item.isTensor()) return item.toTensor();
    }
  }
  return undefined();
}

}  // namespace

Bytes bytes_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return Bytes(0);
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (tensor.layout() != c10::kStrided) {
    if (tensor.layout() != c10::kMkldnn) return sparse_bytes(tensor);
    return Bytes(tensor.numel() * static_cast<std::int64_t>(impl->itemsize()));
  }
  if (tensor.is_nested()) {
    return base::Bytes(impl->numel() * static_cast<std::int64_t>(impl->itemsize()));
  }
  if (impl->is_contiguous()) {
    return Bytes(impl->numel() * static_cast<std::int64_t>(impl->itemsize()));
  }
  return strided_bytes(tensor);
}

Traffic traffic_of(const Call& call) {
  TrafficCounter counter;
  const std::size_t inputs = call.arguments.size() - count_outs(call);
  for (std::size_t i = 0; i < inputs; ++i) {
    visit_tensors(call.arguments[i], [&](const at::Tensor& tensor) { counter.read(tensor); });
  }
  for (const c10::IValue& result : call.results) {
    visit_tensors(result, [&](const at::Tensor& tensor) { counter.write(tensor); });
  }
  return counter.finish();
}

const at::Tensor& output_of(const Call& call) {
  if (!call.results.empty()) {
    const at::Tensor& tensor = first_tensor(call.results[0]);
    if (tensor.defined()) return tensor;
  }
  return tensor_at(call, 0);
}

const at::Tensor& tensor_at(const Call& call, std::size_t index) {
  return index < call.arguments.size() ? first_tensor(call.arguments[index]) : undefined();
}

std::int64_t integer_at(const Call& call, std::size_t index, std::int64_t fallback) {
  if (index >= call.arguments.size() || !call.arguments[index].isInt()) return fallback;
  return call.arguments[index].toInt();
}

bool boolean_at(const Call& call, std::size_t index, bool fallback) {
  if (index >= call.arguments.size() || !call.arguments[index].isBool()) return fallback;
  return call.arguments[index].toBool();
}

std::int64_t size_along(const at::Tensor& tensor, std::int64_t dim) {
  if (!tensor.defined() || tensor.is_nested()) return 1;
  const std::int64_t rank = tensor.dim();
  const std::int64_t axis = dim < 0 ? dim + rank : dim;
  return axis < 0 || axis >= rank ? 1 : tensor.size(axis);
}

std::int64_t slice_after(const at::Tensor& tensor, std::int64_t dim) {
  if (!tensor.defined() || tensor.is_nested()) return 1;
  const std::int64_t rank = tensor.dim();
  std::int64_t elements = 1;
  for (std::int64_t axis = (dim < 0 ? dim + rank : dim) + 1; axis < rank; ++axis) {
    elements *= tensor.size(axis);
  }
  return elements;
}

}  // namespace npu_sim::aten
