// copy_memory_ and npu_change_data_ptr: bytes of one npu tensor into another as they lie, and a
// tensor over the bytes of another.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "aten/route/touched.h"
#include "runtime/launch.h"

namespace npu_sim::ops {
namespace {

// --- work: one run of bytes; a changed pointer moves nothing.
model::Work copied(base::Bytes bytes) {
  return model::CopyWork{.read = bytes, .written = bytes, .run = bytes};
}
model::Work copy_work(const aten::Call& call) {
  return copied(aten::bytes_of(aten::tensor_at(call, 0)));
}
model::Work nothing(const aten::Call&) { return model::NoWork{}; }
constexpr aten::Entry kEntries[] = {
    {"copy_memory_", copy_work},
    {"npu_change_data_ptr", nothing},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_pair(const char* op, const at::Tensor& to, const at::Tensor& from) {
  TORCH_CHECK_VALUE(to.is_privateuseone() && from.is_privateuseone(), op,
                    ": expected tensors on npu, got ", to.device(), " and ", from.device(),
                    " (ERR01002 OPS invalid type)");
  TORCH_CHECK_TYPE(to.scalar_type() == from.scalar_type(), op, ": expected src of ",
                   to.scalar_type(), ", the dtype of the other, got ", from.scalar_type());
  TORCH_CHECK_VALUE(to.device() == from.device(), op, ": expected src on ", to.device(), ", got ",
                    from.device());
}

// Bytes from the tensor's first to the end of its storage.
std::size_t room(const at::Tensor& tensor) {
  return tensor.storage().nbytes() -
         static_cast<std::size_t>(tensor.storage_offset()) * tensor.dtype().itemsize();
}

// As many elements as `input` has, in the order in which both lie in memory.
at::Tensor& copy_memory(at::Tensor& input, const at::Tensor& src, bool /*non_blocking*/) {
  constexpr const char* kOp = "copy_memory_";
  check_pair(kOp, input, src);
  const std::size_t bytes = std::min(input.nbytes(), room(input));
  TORCH_CHECK_VALUE(bytes <= room(src), kOp, ": expected src of ", bytes, " bytes or more, got ",
                    room(src));
  const runtime::LaunchSite site{kOp, runtime::current_stream(input.device().index())};
  if (bytes > 0) std::memmove(input.mutable_data_ptr(), src.const_data_ptr(), bytes);
  runtime::record(site, copied(base::Bytes(static_cast<std::int64_t>(bytes))),
                  aten::Touched({&src}, {&input}).footprint());
  return input;
}

// Keeps the bytes alive that a storage was pointed at.
void release_owner(void* owner) { delete static_cast<c10::Storage*>(owner); }

// dst's storage begins `index` elements behind the start of src's.
std::int64_t change_data_ptr(const at::Tensor& dst, const at::Tensor& src, std::int64_t index) {
  constexpr const char* kOp = "npu_change_data_ptr";
  check_pair(kOp, dst, src);
  TORCH_CHECK_TYPE(dst.is_floating_point() && dst.scalar_type() != at::kDouble, kOp,
                   ": expected float32, float16 or bfloat16, got ", dst.scalar_type());
  const std::size_t begin = static_cast<std::size_t>(index) * dst.dtype().itemsize();
  TORCH_CHECK_VALUE(index >= 0 && begin + dst.storage().nbytes() <= src.storage().nbytes(), kOp,
                    ": expected index of 0 or more that leaves room for dst in src, got ", index);
  auto owner = std::make_unique<c10::Storage>(src.storage());
  void* const bytes = static_cast<char*>(const_cast<void*>(src.storage().data())) + begin;
  dst.storage().set_data_ptr(
      c10::DataPtr(bytes, owner.release(), &release_owner, dst.storage().device()));
  return 0;
}

// --- registration
TORCH_LIBRARY_IMPL(npu, PrivateUse1, m) {
  m.impl("copy_memory_", &copy_memory);
  m.impl("npu_change_data_ptr", &change_data_ptr);
}

}  // namespace
}  // namespace npu_sim::ops
