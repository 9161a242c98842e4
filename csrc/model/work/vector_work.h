// Kernels whose time is in the vector cores: element-wise, row-wise, sorting.
#pragma once

#include <cstdint>

#include "base/format.h"
#include "base/units.h"

namespace npu_sim::model {

using base::Bytes;
using base::Format;

// An element-wise kernel: each operand streamed once, a few vector instructions an element.
struct VectorWork {
  std::int64_t elements = 0;  // of the output, or of the largest operand if there is none
  Bytes read{};
  Bytes written{};
  Format compute = Format::kFp32;
  std::int16_t linear_ops = 1;   // full-rate instructions an element: add, mul, compare, convert
  std::int16_t special_ops = 0;  // quarter-rate instructions an element: exp, log, div, sqrt

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

// Sorts or selects in `rows` rows of `columns`; k = columns for a full sort.
struct SortWork {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t k = 0;
  Format format = Format::kFp32;
  Bytes written{};

  bool operator==(const SortWork&) const = default;
};

}  // namespace npu_sim::model
