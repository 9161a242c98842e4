// _npu_dropout, its gradient, and masks by themselves: one bit an element, the first in the lowest
// bit, in a whole number of 128 bits; and npu_sim_exponential_.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_left_shift.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "aten/describe/registry.h"
#include "aten/describe/vector_describers.h"
#include "backend/device_type.h"
#include "backend/generator.h"
#include "ops/autograd/derivative.h"
#include "ops/host_kernel.h"
#include "ops/precision.h"

namespace npu_sim::ops {
namespace {

constexpr std::int64_t kBits = 8;     // elements a byte of a mask
constexpr std::int64_t kAlign = 128;  // elements that a mask's length is a multiple of

// --- work: Philox makes a number in about 28 instructions (aten/describe/random.cpp); then a
// comparison, a select and the scale.
constexpr int kUniform = 28;

// Argument 0 gives only the dtype; the elements are those of `size`.
template <std::size_t size>
model::Work mask_work(const aten::Call& call) {
  const at::Tensor& mask = call.result();
  return model::VectorWork{.elements = mask.numel() * kBits,
                           .written = aten::bytes_of(mask),
                           .linear_ops = kUniform + 2};
}
// What is overwritten is not read.
model::Work exponential_work(const aten::Call& call) {
  const at::Tensor& out = call.result();
  return model::VectorWork{.elements = out.numel(),
                           .written = aten::bytes_of(out),
                           .compute = aten::format_of(out),
                           .linear_ops = kUniform + 1,
                           .special_ops = 1};
}
constexpr aten::Entry kEntries[] = {
    {"_npu_dropout", aten::elements<kUniform + 3>}, {"npu_dropout_backward", aten::elements<3>},
    {"_npu_dropout_gen_mask", mask_work<1>},        {"npu_dropout_gen_mask", mask_work<0>},
    {"npu_sim_exponential_", exponential_work},
};
[[maybe_unused]] const bool kDescribed = aten::add_entries(kEntries);

// --- op
void check_probability(const char* op, double p) {
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, op, ": expected a probability p in [0, 1], got ", p);
}

// Bytes of the mask of so many elements.
std::int64_t mask_length(std::int64_t elements) {
  return (elements + kAlign - 1) / kAlign * kAlign / kBits;
}

// --- compute
at::Tensor bit_places(const at::Tensor& like) {
  return at::arange(kBits, like.options().dtype(at::kInt)).to(at::kByte);
}

at::Tensor packed(const at::Tensor& kept) {
  const at::Tensor flat = kept.flatten().to(at::kByte);
  const std::int64_t padding = mask_length(flat.numel()) * kBits - flat.numel();
  const at::Tensor bits = at::constant_pad_nd(flat, {0, padding}).view({-1, kBits});
  return at::bitwise_left_shift(bits, bit_places(bits)).sum(1).to(at::kByte);
}

at::Tensor unpacked(const at::Tensor& mask, at::IntArrayRef sizes) {
  return at::bitwise_right_shift(mask.unsqueeze(1), bit_places(mask))
      .bitwise_and(1)
      .flatten()
      .slice(0, 0, c10::multiply_integers(sizes))
      .view(sizes);
}

// The kept elements scaled up, the others zero.
at::Tensor scaled(const at::Tensor& x, const at::Tensor& kept, double p) {
  if (p == 1) return at::zeros_like(x, {}, at::MemoryFormat::Contiguous);
  return (widened(x) * kept * (1 / (1 - p))).to(x.scalar_type());
}

// Draws as native_dropout does, so that one seed drops the same elements.
std::tuple<at::Tensor, at::Tensor> dropout(const at::Tensor& input, double p) {
  constexpr const char* kOp = "_npu_dropout";
  check_probability(kOp, p);
  TORCH_CHECK_TYPE(input.is_floating_point(), kOp, ": expected a floating input, got ",
                   input.scalar_type());
  const at::Tensor kept = at::empty(input.sizes(), input.options().dtype(at::kBool));
  kept.bernoulli_(1 - p);
  return {scaled(input, kept, p), packed(kept)};
}

at::Tensor dropout_backward(const at::Tensor& grad_output, const at::Tensor& mask, double p) {
  constexpr const char* kOp = "npu_dropout_backward";
  check_probability(kOp, p);
  TORCH_CHECK_TYPE(grad_output.is_floating_point() && mask.scalar_type() == at::kByte, kOp,
                   ": expected a floating grad_output and mask of uint8, got ",
                   grad_output.scalar_type(), " and ", mask.scalar_type());
  TORCH_CHECK_VALUE(mask.dim() == 1 && mask.numel() == mask_length(grad_output.numel()), kOp,
                    ": expected mask [", mask_length(grad_output.numel()), "] for grad_output ",
                    grad_output.sizes(), ", got ", mask.sizes());
  return scaled(grad_output, unpacked(mask, grad_output.sizes()), p);
}

// A mask of its own seed and offset: the same bits for the same numbers, whatever was drawn before.
at::Tensor gen_mask_of_seed(const at::Tensor& input, at::IntArrayRef size, double p,
                            std::int64_t seed, std::int64_t offset,
                            std::optional<bool> /*parallel*/, std::optional<bool> /*sync*/) {
  constexpr const char* kOp = "_npu_dropout_gen_mask";
  check_probability(kOp, p);
  const std::int64_t length = mask_length(c10::multiply_integers(size));
  at::Tensor mask = at::zeros({length}, input.options().dtype(at::kByte));
  if (mask.is_meta()) return mask;
  at::Philox4_32 engine(static_cast<std::uint64_t>(seed), 0, static_cast<std::uint64_t>(offset));
  auto* const bytes = mask.mutable_data_ptr<std::uint8_t>();
  constexpr double kRange = 4294967296.0;  // numbers that the engine makes
  for (std::int64_t i = 0; i < c10::multiply_integers(size); ++i) {
    const bool kept = static_cast<double>(engine()) >= p * kRange;
    bytes[i / kBits] = static_cast<std::uint8_t>(bytes[i / kBits] | (kept ? 1U << (i % kBits) : 0));
  }
  return mask;
}

// A seed from the generator of an npu; 0 for a meta tensor's device.
std::int64_t drawn_seed(at::Device device) {
  if (device.is_meta()) return 0;
  const auto index = static_cast<c10::DeviceIndex>(backend::index_of(device));
  at::Generator host = backend::host_generator(backend::default_generator(index));
  const std::lock_guard<std::mutex> lock(host.mutex());
  return static_cast<std::int64_t>(host.get<at::CPUGeneratorImpl>()->random64() >> 1U);
}

using GenMask = at::Tensor(at::IntArrayRef, double, std::optional<at::ScalarType>,
                           std::optional<at::Layout>, std::optional<at::Device>,
                           std::optional<bool>);

// The mask of a drawn seed. No argument is a tensor, so that kernel gets an empty one.
at::Tensor gen_mask(at::IntArrayRef size, double p, std::optional<at::ScalarType> dtype,
                    std::optional<at::Layout> /*layout*/, std::optional<at::Device> device,
                    std::optional<bool> /*pin_memory*/) {
  check_probability("npu_dropout_gen_mask", p);
  static const auto kernel =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("npu::_npu_dropout_gen_mask", "Tensor")
          .typed<at::Tensor(const at::Tensor&, at::IntArrayRef, double, std::int64_t, std::int64_t,
                            std::optional<bool>, std::optional<bool>)>();
  const at::Tensor like =
      at::empty({0}, at::TensorOptions().dtype(dtype.value_or(at::kFloat)).device(*device));
  return kernel.call(like, size, p, drawn_seed(*device), 0, true, false);
}

// Without a tensor among the arguments the device says where the call goes; None is npu.
at::Tensor gen_mask_on(at::IntArrayRef size, double p, std::optional<at::ScalarType> dtype,
                       std::optional<at::Layout> layout, std::optional<at::Device> device,
                       std::optional<bool> pin_memory) {
  const at::Device on = device.value_or(at::Device(backend::kNpu));
  TORCH_CHECK_VALUE(on.type() == backend::kNpu || on.is_meta(),
                    "npu_dropout_gen_mask: expected device of npu, got ", on);
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("npu::npu_dropout_gen_mask", "")
                             .typed<GenMask>();
  const auto key = on.is_meta() ? c10::DispatchKey::Meta : c10::DispatchKey::PrivateUse1;
  return op.redispatch(c10::DispatchKeySet(key), size, p, dtype, layout, on, pin_memory);
}

at::Tensor& sim_exponential_(at::Tensor& input, double lambd,
                             std::optional<at::Generator> generator) {
  constexpr const char* kOp = "npu_sim_exponential_";
  TORCH_CHECK_TYPE(input.is_floating_point(), kOp, ": expected a floating input, got ",
                   input.scalar_type());
  TORCH_CHECK_VALUE(lambd > 0, kOp, ": expected a positive lambd, got ", lambd);
  if (input.is_meta()) return input;
  return input.exponential_(lambd, generator);
}

// --- registration
TORCH_LIBRARY_FRAGMENT(npu, m) {
  composed_kernel<&dropout>(m, "_npu_dropout");
  composed_kernel<&dropout_backward>(m, "npu_dropout_backward");
  derivative(m, "_npu_dropout", "input: npu_dropout_backward(grad, result1, p)");
  composed_kernel<&gen_mask_of_seed>(m, "_npu_dropout_gen_mask.Tensor");
  m.impl("npu_dropout_gen_mask",
         torch::dispatch(c10::DispatchKey::BackendSelect, TORCH_FN(gen_mask_on)));
  for (const auto key : {c10::DispatchKey::PrivateUse1, c10::DispatchKey::Meta}) {
    m.impl("npu_dropout_gen_mask", torch::dispatch(key, TORCH_FN(gen_mask)));
  }
  composed_kernel<&sim_exponential_>(m, "npu_sim_exponential_");
}

}  // namespace
}  // namespace npu_sim::ops
