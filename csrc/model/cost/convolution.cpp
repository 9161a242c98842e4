// Convolution as implicit matmul: input, weights and output cross HiBL once each.
#include <algorithm>

#include "model/cost/estimate.h"

namespace npu_sim::model {

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
  add_product(demand, flops, work.format, work.format, chip);
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
  return demand;
}

}  // namespace npu_sim::model
