// Convolution as an implicit product: the cube multiplies unfolded input that only exists in L1.
#include <algorithm>
#include <cmath>

#include "model/core/cube.h"
#include "model/cost/estimate.h"
#include "model/cost/gemm_demand.h"

namespace npu_sim::model {
namespace {

constexpr double kChannelBlock = 16;  // channels that the cube takes at once

// Sizes of one group, with groups of few channels merged into one block-diagonal product.
struct Channels {
  double groups = 1;
  double in = 0;
  double out = 0;
};

Channels channels_of(const ConvolutionWork& work) {
  const double groups = number(std::max<std::int64_t>(1, work.groups));
  const double in = number(work.in_channels) / groups;
  const double out = number(work.out_channels) / groups;
  if (in <= 0 || out <= 0) return {groups, in, out};
  const double merged = std::clamp(std::floor(kChannelBlock / std::max(in, out)), 1.0, groups);
  return {std::ceil(groups / merged), in * merged, out * merged};
}

}  // namespace

// The unfolded operand is always the left one; of it only `moved` elements leave memory.
GemmShape gemm_shape(const ConvolutionWork& work, const ChipSpec& chip) {
  const Channels channels = channels_of(work);
  const double images = number(work.batch);
  const double kernel = number(work.kernel_positions);
  const double outputs = number(work.out_positions);
  const double inputs = number(work.in_positions);
  GemmShape shape{.batch = channels.groups,
                  .a = work.format,
                  .b = work.format,
                  .cube = multiply_format(work.format, work.format, chip),
                  .out = work.format};
  switch (work.pass) {
    case ConvolutionPass::kForward:
      shape.m = images * outputs;
      shape.n = channels.out;
      shape.k = kernel * channels.in;
      break;
    case ConvolutionPass::kInputGrad:
      shape.m = images * inputs;
      shape.n = channels.in;
      // Positions that a stride skips are not multiplied.
      shape.k = std::ceil(kernel * outputs / std::max(1.0, inputs) * channels.out);
      break;
    case ConvolutionPass::kWeightGrad:
      shape.m = kernel * channels.in;
      shape.n = channels.out;
      shape.k = images * outputs;
      break;
  }
  const bool unfolds_output = work.pass == ConvolutionPass::kInputGrad;
  const double moved = images * (unfolds_output ? number(work.out_channels) * outputs
                                                : number(work.in_channels) * inputs);
  const double unfolded = shape.batch * shape.m * shape.k;
  shape.a_share = unfolded > 0 ? std::min(1.0, moved / unfolded) : 1;
  return shape;
}

Demand estimate(const ConvolutionWork& work, const ChipSpec& chip) {
  const double batch = number(work.batch);
  const double channels_a_group =
      number(work.in_channels) / number(std::max<std::int64_t>(1, work.groups));
  const double weights =
      number(work.out_channels) * channels_a_group * number(work.kernel_positions);
  const double input = batch * number(work.in_channels) * number(work.in_positions);
  const double output = batch * number(work.out_channels) * number(work.out_positions);
  // The three passes multiply the same pairs: every weight with every output position.
  const double flops = 2 * batch * number(work.out_positions) * weights;
  Demand demand;
  const bool on_cube = count_product(demand, flops, work.format, work.format, chip);
  double read = 0;
  double written = 0;
  switch (work.pass) {
    case ConvolutionPass::kForward:
      read = input + weights;
      written = output;
      break;
    case ConvolutionPass::kInputGrad:
      read = output + weights;
      written = input;
      break;
    case ConvolutionPass::kWeightGrad:
      read = input + output;
      written = weights;
      break;
  }
  if (flops == 0) read = 0;  // nothing to multiply: at most zeros are written
  demand.read_bytes = stored_bytes(read, work.format);
  demand.written_bytes = stored_bytes(written, work.format);
  if (on_cube && flops > 0) add_gemm(demand, gemm_shape(work, chip), chip);
  return demand;
}

}  // namespace npu_sim::model
