// One ordinary work of every kind, for rules that hold for all of them.
#pragma once

#include <vector>

#include "model/work/work.h"

namespace npu_sim::model {

inline std::vector<Work> sample_works() {
  constexpr Bytes kMegabyte(1'000'000);
  return {
      NoWork{},
      VectorWork{.elements = 1'000'000,
                 .read = 4 * kMegabyte,
                 .written = 4 * kMegabyte,
                 .linear_ops = 2,
                 .special_ops = 1},
      MatmulWork{.batch = 2, .m = 640, .n = 512, .k = 384, .a = Format::kBf16, .b = Format::kBf16},
      RowWork{.rows = 1000,
              .columns = 1000,
              .read = 4 * kMegabyte,
              .written = 4 * kMegabyte,
              .linear_ops = 4,
              .special_ops = 1,
              .reductions = 2,
              .passes = 2},
      CopyWork{.read = 4 * kMegabyte, .written = 4 * kMegabyte, .run = 4 * kMegabyte},
      CopyWork{.route = CopyRoute::kHostToDevice, .read = kMegabyte, .written = kMegabyte},
      CopyWork{.route = CopyRoute::kDeviceToHost, .read = kMegabyte, .written = kMegabyte},
      CopyWork{.route = CopyRoute::kPeer, .read = kMegabyte, .written = kMegabyte},
      GatherWork{.items = 10'000,
                 .item = Bytes(64),
                 .index = Bytes(80'000),
                 .written = Bytes(640'000),
                 .read = Bytes(640'000)},
      GatherWork{.items = 10'000,
                 .item = Bytes(64),
                 .index = Bytes(80'000),
                 .written = Bytes(640'000),
                 .read = Bytes(640'000),
                 .scatter = true,
                 .accumulates = true},
      SortWork{.rows = 64, .columns = 50'000, .k = 50'000, .written = 38 * kMegabyte},
      AttentionWork{.batch = 2,
                    .q_heads = 32,
                    .kv_heads = 8,
                    .q_len = 512,
                    .kv_len = 1024,
                    .qk_dim = 128,
                    .v_dim = 128},
      GroupedMatmulWork{
          .rows = GroupSizes({900, 512, 0, 700, 511, 1, 900, 572}), .n = 2048, .k = 1024},
      ConvolutionWork{.batch = 4,
                      .in_channels = 64,
                      .out_channels = 128,
                      .in_positions = 56 * 56,
                      .out_positions = 56 * 56,
                      .kernel_positions = 9,
                      .format = Format::kFp16},
      HostWork{.to_host = kMegabyte, .to_device = kMegabyte, .host_traffic = 2 * kMegabyte},
      UndescribedWork{.read = kMegabyte, .written = kMegabyte},
  };
}

}  // namespace npu_sim::model
