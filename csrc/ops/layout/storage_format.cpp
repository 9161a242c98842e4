// Layouts of storages: npu_format_cast and its forms, what a storage's layout and size are, and
// tensors made with a layout. The bytes stay as ND has them; a storage carries the layout as a tag
// and takes the memory that the card would need for it.
#include <ATen/ops/alias.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "aten/describe/layout.h"
#include "aten/describe/registry.h"
#include "aten/describe/work_of.h"
#include "aten/route/host_views.h"
#include "aten/route/touched.h"
#include "backend/device_type.h"
#include "backend/storage.h"
#include "ops/autograd/derivative.h"
#include "ops/layout/fractal.h"
#include "runtime/launch.h"

namespace npu_sim::ops {
namespace {

using MaybeInt = std::optional<std::int64_t>;

// --- work: a copy; fractals are written whole.
model::Work copied(const at::Tensor& from, const at::Tensor& to) {
  return model::CopyWork{.read = aten::bytes_of(from),
                         .written = base::Bytes(static_cast<std::int64_t>(to.storage().nbytes())),
                         .run = aten::contiguous_run(from)};
}
model::Work cast_work(const aten::Call& call) {
  return copied(aten::tensor_at(call, 0), aten::output_of(call));
}
model::Work nothing(const aten::Call&) { return model::NoWork{}; }
constexpr aten::Entry kEntries[] = {
    {"npu_format_cast", cast_work},        {"npu_format_cast_", cast_work},
    {"_npu_format_cast", cast_work},       {"get_npu_format", nothing},
    {"get_storage_size", nothing},         {"empty_with_format", nothing},
    {"unsafe_empty_with_format", nothing}, {"empty_with_swapped_memory", nothing},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
backend::NpuStorage& storage_of(const char* op, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.is_privateuseone() && tensor.has_storage(), op,
                    ": expected a dense tensor on npu, got one on ", tensor.device(),
                    " (ERR01002 OPS invalid type)");
  backend::NpuStorage* const storage = backend::as_npu(tensor.storage().unsafeGetStorageImpl());
  TORCH_CHECK_VALUE(storage != nullptr, op,
                    ": expected a storage made on npu, got one over foreign memory; clone() it");
  return *storage;
}

struct Request {
  const char* op;
  std::int64_t format;
  MaybeInt customize_dtype;
  MaybeInt input_dtype;
};

bool keeps_layout(const Request& request, const at::Tensor& input) {
  return is_base_format(request.format) || input.dim() < 2;
}

// A storage in the layout that is asked for, with the bytes of `input` in order.
c10::Storage converted(const Request& request, const at::Tensor& input) {
  const Fractal fractal =
      fractal_of(request.op, input, request.customize_dtype, request.input_dtype);
  const bool plain = is_base_format(request.format);
  const std::int64_t bytes = plain ? aten::bytes_of(input).count() : padded_bytes(input, fractal);
  c10::Storage storage = backend::make_storage(static_cast<std::size_t>(bytes), input.device());
  backend::as_npu(storage.unsafeGetStorageImpl())
      ->set_format(plain ? request.format : fractal.format);
  return storage;
}

at::Tensor converted_tensor(const Request& request, const at::Tensor& input) {
  const runtime::LaunchSite site{request.op, runtime::current_stream(input.device().index())};
  at::Tensor source = aten::host_view(input).contiguous();
  if (source.storage_offset() != 0) source = source.clone();
  at::Tensor out = aten::make_npu_tensor(converted(request, input), source);
  if (input.numel() > 0) aten::host_view(out).copy_(source);
  runtime::record(site, copied(input, out), aten::Touched({&input}, {&out}).footprint());
  return out;
}

// Between layouts whose bytes lie as those of ND, only the tag changes, in place.
at::Tensor cast_to(const Request& request, const at::Tensor& input) {
  check_format(request.op, request.format);
  backend::NpuStorage& storage = storage_of(request.op, input);
  const bool same = storage.format() == request.format;
  if (same || (keeps_layout(request, input) && is_base_format(storage.format()))) {
    if (is_base_format(request.format)) storage.set_format(request.format);
    return at::alias(input);
  }
  return converted_tensor(request, input);
}

at::Tensor npu_format_cast(const at::Tensor& input, std::int64_t format, MaybeInt customize_dtype,
                           MaybeInt input_dtype) {
  return cast_to({"npu_format_cast", format, customize_dtype, input_dtype}, input);
}

at::Tensor npu_format_cast_like(const at::Tensor& input, const at::Tensor& dst,
                                MaybeInt customize_dtype, MaybeInt input_dtype) {
  const std::int64_t format = storage_of("npu_format_cast", dst).format();
  return cast_to({"npu_format_cast", format, customize_dtype, input_dtype}, input);
}

at::Tensor inner_cast(const at::Tensor& input, std::int64_t format) {
  return cast_to({"_npu_format_cast", format, std::nullopt, std::nullopt}, input);
}

at::Tensor inner_cast_aclnn(const at::Tensor& input, std::int64_t format,
                            std::int64_t customize_dtype) {
  return cast_to({"_npu_format_cast", format, customize_dtype, std::nullopt}, input);
}

at::Tensor inner_cast_input_dtype(const at::Tensor& input, std::int64_t format,
                                  std::int64_t customize_dtype, std::int64_t input_dtype) {
  return cast_to({"_npu_format_cast", format, customize_dtype, input_dtype}, input);
}

// The tensor gets the new storage; views of the old one keep that.
at::Tensor& cast_in_place(at::Tensor& input, const Request& request) {
  const at::Tensor out = cast_to(request, input);
  c10::TensorImpl* const impl = input.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(out.storage());
  impl->set_sizes_and_strides(out.sizes(), out.strides(), out.storage_offset());
  return input;
}

at::Tensor& npu_format_cast_(at::Tensor& input, std::int64_t format, MaybeInt customize_dtype,
                             MaybeInt input_dtype) {
  return cast_in_place(input, {"npu_format_cast_", format, customize_dtype, input_dtype});
}

// The values of `src` in the layout that `input` has.
at::Tensor& npu_format_cast_from(at::Tensor& input, const at::Tensor& src,
                                 MaybeInt /*customize_dtype*/, MaybeInt /*input_dtype*/) {
  constexpr const char* kOp = "npu_format_cast_";
  storage_of(kOp, input);
  storage_of(kOp, src);
  TORCH_CHECK_VALUE(input.sizes() == src.sizes(), kOp, ": expected src of ", input.sizes(),
                    ", the shape of input, got ", src.sizes());
  return input.copy_(src);
}

std::int64_t get_npu_format(const at::Tensor& input) {
  return storage_of("get_npu_format", input).format();
}

// In elements, padding included.
std::int64_t get_storage_size(const at::Tensor& input) {
  const std::size_t bytes = storage_of("get_storage_size", input).nbytes();
  return static_cast<std::int64_t>(bytes / input.dtype().itemsize());
}

at::Tensor made(const char* op, at::IntArrayRef size, const at::TensorOptions& options,
                std::int64_t format) {
  check_format(op, format);
  TORCH_CHECK_VALUE(options.device().type() == backend::kNpu, op,
                    ": expected a device of npu, got ", options.device());
  at::Tensor out = at::empty(size, options);
  if (is_base_format(format)) {
    storage_of(op, out).set_format(format);
    return out;
  }
  return out.dim() < 2 ? out : converted_tensor({op, format, std::nullopt, std::nullopt}, out);
}

at::TensorOptions options_of(std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
                             std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  return at::TensorOptions()
      .dtype(dtype)
      .layout(layout)
      .device(device.value_or(c10::Device(backend::kNpu)))
      .pinned_memory(pin_memory);
}

at::Tensor empty_with_format(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                             std::optional<at::Layout> layout, std::optional<c10::Device> device,
                             std::optional<bool> pin_memory, std::int64_t format,
                             MaybeInt /*base_addr_aligned_kb*/) {
  return made("empty_with_format", size, options_of(dtype, layout, device, pin_memory), format);
}

at::Tensor unsafe_empty_with_format(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                                    std::optional<at::Layout> layout,
                                    std::optional<c10::Device> device,
                                    std::optional<bool> pin_memory, std::int64_t format,
                                    bool /*keep_format*/) {
  return made("unsafe_empty_with_format", size, options_of(dtype, layout, device, pin_memory),
              format);
}

// Shapes alone, for tracing.
template <class... Options>
at::Tensor meta_cast(const at::Tensor& input, Options... /*options*/) {
  return at::empty_like(input);
}

// A tensor of the card whose bytes lie in the host's memory.
at::Tensor empty_with_swapped_memory(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                                     std::optional<c10::Device> device) {
  const at::Tensor host = at::empty(size, at::TensorOptions().dtype(dtype).device(at::kCPU));
  const c10::Device target = device.value_or(c10::Device(backend::kNpu));
  TORCH_CHECK_VALUE(target.type() == backend::kNpu,
                    "empty_with_swapped_memory: expected a device of npu, got ", target);
  return aten::make_npu_tensor(backend::make_storage_over(host.storage(), target), host);
}

// --- registration
TORCH_LIBRARY_IMPL(npu, PrivateUse1, m) {
  m.impl("npu_format_cast", &npu_format_cast);
  m.impl("npu_format_cast.Tensor", &npu_format_cast_like);
  m.impl("npu_format_cast_", &npu_format_cast_from);
  m.impl("npu_format_cast_.acl_format", &npu_format_cast_);
  m.impl("_npu_format_cast", &inner_cast);
  m.impl("_npu_format_cast.aclnn", &inner_cast_aclnn);
  m.impl("_npu_format_cast.input_dtype", &inner_cast_input_dtype);
  m.impl("get_npu_format", &get_npu_format);
  m.impl("get_storage_size", &get_storage_size);
}

TORCH_LIBRARY_IMPL(npu, Meta, m) {
  m.impl("npu_format_cast", &meta_cast<std::int64_t, MaybeInt, MaybeInt>);
  m.impl("npu_format_cast.Tensor", &meta_cast<const at::Tensor&, MaybeInt, MaybeInt>);
  m.impl("_npu_format_cast", &meta_cast<std::int64_t>);
  m.impl("_npu_format_cast.aclnn", &meta_cast<std::int64_t, std::int64_t>);
  m.impl("_npu_format_cast.input_dtype", &meta_cast<std::int64_t, std::int64_t, std::int64_t>);
}

TORCH_LIBRARY_IMPL(npu, BackendSelect, m) {
  m.impl("empty_with_format", &empty_with_format);
  m.impl("unsafe_empty_with_format", &unsafe_empty_with_format);
  m.impl("empty_with_swapped_memory", &empty_with_swapped_memory);
}

TORCH_LIBRARY_FRAGMENT(npu, m) {
  derivative(m, "npu_format_cast", "input: npu_format_cast(grad, 2)");
  derivative(m, "_npu_format_cast", "input: _npu_format_cast(grad, 2)");
}

}  // namespace
}  // namespace npu_sim::ops
