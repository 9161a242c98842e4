// What a kernel asks of the machine: plain structs of shapes, formats and bytes. No tensor, no
// time.
//
// Every struct is a comparable aggregate, so that a cost can be memoized by Work.
#pragma once

#include <cstdint>
#include <variant>

#include "base/format.h"
#include "base/units.h"

namespace npu_sim::model {

using base::Bytes;
using base::Format;

// batch x ([m, k] @ [k, n]) on the cube. `bytes_*` are filled by the cost from shapes and formats.
struct MatmulWork {
  std::int64_t batch = 1;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Format a = Format::kFp32;
  Format b = Format::kFp32;
  Format out = Format::kFp32;
  bool a_transposed = false;
  bool b_transposed = false;
  bool b_shared = false;    // one [k, n] for the whole batch
  bool adds_input = false;  // reads a bias or an accumulator; one row of n unless `added` says more
  Bytes added{};            // bytes of the bias or accumulator, where it is larger than one row

  bool operator==(const MatmulWork&) const = default;
};

// groups x ([rows_g, k] @ [k, n]) with sum(rows_g) = rows; `largest_group` bounds the critical
// core.
struct GroupedMatmulWork {
  std::int64_t groups = 0;
  std::int64_t rows = 0;
  std::int64_t largest_group = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Format a = Format::kBf16;
  Format b = Format::kBf16;
  Format out = Format::kBf16;

  bool operator==(const GroupedMatmulWork&) const = default;
};

enum class ConvolutionPass : std::uint8_t { kForward, kInputGrad, kWeightGrad };

// Convolution as the cube sees it (implicit matmul); spatial sizes are products over all axes.
struct ConvolutionWork {
  ConvolutionPass pass = ConvolutionPass::kForward;
  std::int64_t batch = 0;
  std::int64_t groups = 1;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t in_positions = 0;
  std::int64_t out_positions = 0;
  std::int64_t kernel_positions = 0;
  Format format = Format::kFp32;

  bool operator==(const ConvolutionWork&) const = default;
};

// softmax(q k^T) v, fused: scores never leave the chip.
struct AttentionWork {
  std::int64_t batch = 0;
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  Format format = Format::kBf16;
  bool causal = false;
  bool backward = false;
  Bytes mask{};         // bytes of an explicit mask that is read
  bool v_in_k = false;  // v is the first v_dim of k (absorbed MLA): read once, v moves no bytes

  bool operator==(const AttentionWork&) const = default;
};

// An element-wise kernel: each operand streamed once, a few vector instructions an element.
struct VectorWork {
  std::int64_t elements = 0;  // of the output, or of the largest operand if there is none
  Bytes read{};
  Bytes written{};
  Format compute = Format::kFp32;
  std::int16_t linear_ops =
      1;  // add, mul, compare, select, convert: full-rate instructions an element
  std::int16_t special_ops = 0;  // exp, log, div, sqrt ...: quarter-rate instructions an element

  bool operator==(const VectorWork&) const = default;
};

// A row-wise kernel (softmax, norms, reductions, scans): `rows` independent rows of `columns`.
struct RowWork {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  Bytes read{};
  Bytes written{};
  Format compute = Format::kFp32;
  std::int16_t linear_ops = 1;
  std::int16_t special_ops = 0;
  std::int16_t reductions = 1;  // cross-lane reductions a row
  std::int16_t passes = 1;      // sweeps over the row when it does not fit the unified buffer

  bool operator==(const RowWork&) const = default;
};

// `items` pieces of `item` bytes each, read from (gather) or written to (scatter) computed places.
struct GatherWork {
  std::int64_t items = 0;
  Bytes item{};
  Bytes index{};    // bytes of all indices
  Bytes written{};  // bytes written, all items
  Bytes read{};     // bytes read besides the indices
  bool scatter = false;
  bool accumulates = false;  // atomic adds
  Bytes table{};  // bytes the places span; 0: unknown. One that fits L2 crosses HiBL only once

  bool operator==(const GatherWork&) const = default;
};

// Sorts or selects in `rows` rows of `columns`; k = columns for a full sort.
struct SortWork {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t k = 0;
  Format format = Format::kFp32;
  Bytes written{};

  bool operator==(const SortWork&) const = default;
};

enum class CopyRoute : std::uint8_t { kWithinDevice, kHostToDevice, kDeviceToHost, kPeer };

// Moves bytes. `run` is the shortest contiguous piece on either side (= bytes when both are dense;
// 0 means dense too).
struct CopyWork {
  CopyRoute route = CopyRoute::kWithinDevice;
  Bytes read{};
  Bytes written{};
  Bytes run{};
  Bytes span{};  // first to last byte of the strided side, which bounds its traffic; 0: unknown

  bool operator==(const CopyWork&) const = default;
};

// An operator the card lacks: inputs to the host, host work, outputs back.
struct HostWork {
  Bytes to_host{};
  Bytes to_device{};
  Bytes host_traffic{};  // bytes the host kernel streams

  bool operator==(const HostWork&) const = default;
};

// An operator nobody has described: timed by its bytes, and counted as undescribed.
struct UndescribedWork {
  Bytes read{};
  Bytes written{};

  bool operator==(const UndescribedWork&) const = default;
};

// A call that launches no kernel (a view, a query): costs the host only.
struct NoWork {
  bool operator==(const NoWork&) const = default;
};

using Work =
    std::variant<NoWork, VectorWork, MatmulWork, RowWork, CopyWork, GatherWork, SortWork,
                 AttentionWork, GroupedMatmulWork, ConvolutionWork, HostWork, UndescribedWork>;

}  // namespace npu_sim::model
