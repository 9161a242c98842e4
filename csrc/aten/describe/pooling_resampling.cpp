// Pooling windows, interpolation and grid sampling.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::Work;

// Product of the window's sizes at argument `index`; a single size stands for every spatial axis.
std::int64_t window_elements(const Call& call, std::size_t index, std::int64_t axes) {
  if (index >= call.arguments.size() || !call.arguments[index].isList()) return 1;
  const auto sizes = call.arguments[index].toListRef();
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    elements *= sizes[i].isInt() ? sizes[i].toInt() : 1;
  if (sizes.size() == 1) {
    for (std::int64_t axis = 1; axis < axes; ++axis) elements *= sizes[0].toInt();
  }
  return elements;
}

// An element of the output walks a window: `per_element` instructions for each of its places.
template <std::size_t window, int axes, int per_element>
Work pool(const Call& call) {
  return element_wise(call, static_cast<int>(window_elements(call, window, axes)) * per_element, 0);
}

// Adaptive pools: the window is what the sizes of input and output say.
template <int per_element>
Work adaptive_pool(const Call& call) {
  const std::int64_t window =
      ratio(elements_of(tensor_at(call, 0)), elements_of(output_of(call))) + 1;
  return element_wise(call, instructions(window * per_element), 0);
}

// A gradient that goes to the places that `indices` name.
template <std::size_t indices>
Work scatter_by_index(const Call& call) {
  const at::Tensor& grad = tensor_at(call, 0);
  return model::GatherWork{.items = elements_of(grad),
                           .item = Bytes(static_cast<std::int64_t>(grad.element_size())),
                           .index = bytes_of(tensor_at(call, indices)),
                           .written = bytes_of(output_of(call)) + bytes_of(grad),
                           .read = bytes_of(grad),
                           .scatter = true,
                           .accumulates = true};
}

// grid_sampler(input, grid, ...): 2 to the number of axes single reads for each output element.
template <int taps>
Work sample_grid(const Call& call) {
  const at::Tensor& out = output_of(call);
  const Bytes item(static_cast<std::int64_t>(out.element_size()));
  const std::int64_t items = elements_of(out) * taps;
  return model::GatherWork{.items = items,
                           .item = item,
                           .index = bytes_of(tensor_at(call, 1)),
                           .written = bytes_of(out),
                           .read = item * items};
}

// grid_sampler_backward(grad_output, input, grid, ...): atomic adds at the same places.
template <int taps>
Work sample_grid_backward(const Call& call) {
  const at::Tensor& grad = tensor_at(call, 0);
  const Traffic traffic = traffic_of(call);
  const Bytes item(static_cast<std::int64_t>(grad.element_size()));
  const std::int64_t items = elements_of(grad) * taps;
  return model::GatherWork{.items = items,
                           .item = item,
                           .index = bytes_of(tensor_at(call, 2)),
                           .written = traffic.written + item * items,
                           .read = traffic.read,
                           .scatter = true,
                           .accumulates = true};
}

constexpr Entry kPooling[] = {
    {"avg_pool1d", pool<1, 1, 1>},
    {"avg_pool2d", pool<1, 2, 1>},
    {"avg_pool3d", pool<1, 3, 1>},
    {"avg_pool2d_backward", pool<2, 2, 1>},
    {"avg_pool3d_backward", pool<2, 3, 1>},
    {"max_pool2d_with_indices", pool<1, 2, 2>},
    {"max_pool3d_with_indices", pool<1, 3, 2>},
    {"quantized_max_pool1d", pool<1, 1, 1>},
    {"quantized_max_pool2d", pool<1, 2, 1>},
    {"quantized_max_pool3d", pool<1, 3, 1>},
    {"max_pool2d_with_indices_backward", scatter_by_index<7>},
    {"max_pool3d_with_indices_backward", scatter_by_index<7>},
    {"max_pool2d_backward", pool<2, 2, 2>},
    {"max_unpool2d", scatter_by_index<1>},
    {"max_unpool3d", scatter_by_index<1>},
    {"_adaptive_avg_pool2d", adaptive_pool<1>},
    {"_adaptive_avg_pool3d", adaptive_pool<1>},
    {"adaptive_avg_pool1d", adaptive_pool<1>},
    {"adaptive_avg_pool2d", adaptive_pool<1>},
    {"adaptive_avg_pool3d", adaptive_pool<1>},
    {"_adaptive_avg_pool2d_backward", elements<2>},
    {"_adaptive_avg_pool3d_backward", elements<2>},
    {"adaptive_avg_pool3d_backward", elements<2>},
    {"adaptive_max_pool2d", adaptive_pool<2>},
    {"adaptive_max_pool3d", adaptive_pool<2>},
    {"adaptive_max_pool2d_backward", scatter_by_index<2>},
    {"adaptive_max_pool3d_backward", scatter_by_index<2>},
    {"fractional_max_pool2d", adaptive_pool<2>},
    {"fractional_max_pool3d", adaptive_pool<2>},
    {"fractional_max_pool2d_backward", scatter_by_index<4>},
    {"fractional_max_pool3d_backward", scatter_by_index<4>},
};

// Taps of the filter, a multiply-add each, and the weights of each axis.
constexpr Entry kResampling[] = {
    {"upsample_nearest1d", elements<1>},
    {"upsample_nearest2d", elements<1>},
    {"upsample_nearest3d", elements<1>},
    {"_upsample_nearest_exact1d", elements<1>},
    {"_upsample_nearest_exact2d", elements<1>},
    {"_upsample_nearest_exact3d", elements<1>},
    {"upsample_nearest1d_backward", elements<1>},
    {"upsample_nearest2d_backward", elements<1>},
    {"upsample_nearest3d_backward", elements<1>},
    {"_upsample_nearest_exact1d_backward", elements<1>},
    {"_upsample_nearest_exact2d_backward", elements<1>},
    {"_upsample_nearest_exact3d_backward", elements<1>},
    {"upsample_linear1d", elements<4>},
    {"upsample_linear1d_backward", elements<4>},
    {"upsample_bilinear2d", elements<8>},
    {"upsample_bilinear2d_backward", elements<8>},
    {"_upsample_bilinear2d_aa", elements<16>},
    {"_upsample_bilinear2d_aa_backward", elements<16>},
    {"upsample_trilinear3d", elements<16>},
    {"upsample_trilinear3d_backward", elements<16>},
    {"upsample_bicubic2d", elements<40>},
    {"upsample_bicubic2d_backward", elements<40>},
    {"_upsample_bicubic2d_aa", elements<60>},
    {"_upsample_bicubic2d_aa_backward", elements<60>},
    {"_upsample_lanczos2d_aa", elements<90, 2>},
    {"_upsample_lanczos2d_aa_backward", elements<90, 2>},
    {"grid_sampler_2d", sample_grid<4>},
    {"grid_sampler_3d", sample_grid<8>},
    {"grid_sampler_2d_backward", sample_grid_backward<4>},
    {"grid_sampler_3d_backward", sample_grid_backward<8>},
};

}  // namespace

Entries pooling_entries() { return kPooling; }
Entries resampling_entries() { return kResampling; }

}  // namespace npu_sim::aten
