// From a plan of the cube to what a kernel demands of the card.
#pragma once

#include "model/core/gemm.h"
#include "model/cost/demand.h"

namespace npu_sim::model {

// The product that each kind of Work makes on the cube.
[[nodiscard]] GemmShape gemm_shape(const MatmulWork& work, const ChipSpec& chip);
[[nodiscard]] GemmShape gemm_shape(const GroupedMatmulWork& work, const ChipSpec& chip);
[[nodiscard]] GemmShape gemm_shape(const ConvolutionWork& work, const ChipSpec& chip);

// Plans `shape` and adds its pipes, traffic, head and tail to `demand`. Read and written bytes of
// the operands are there already; what L2 cannot keep is added.
void add_gemm(Demand& demand, const GemmShape& shape, const ChipSpec& chip);

}  // namespace npu_sim::model
