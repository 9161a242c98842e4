// How a chip's L2 keeps what passes through it.
#pragma once

namespace npu_sim::model {

struct L2Spec {
  double retention = 1;    // share of l2_bytes that the latest traffic occupies
  double pj_per_byte = 0;  // between L2 and the cores
};

}  // namespace npu_sim::model
