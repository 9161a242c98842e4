// A Work as plain Python: {"kind": "matmul", "m": 4096, ...}; formats by name, bytes as numbers.
#pragma once

#include <pybind11/pybind11.h>

#include "model/cost/kernel_time.h"
#include "model/work/work.h"

namespace npu_sim::python {

// Fields that are left out keep their defaults.
// Throws base::ValueError for an unknown kind, field or format, and for a value of another type.
[[nodiscard]] model::Work to_work(const pybind11::dict& fields);

// Every field, defaults included.
[[nodiscard]] pybind11::dict to_dict(model::Work work);

// Duration, busy pipes (idle ones left out), bytes, flops, energy and provenance.
[[nodiscard]] pybind11::dict to_dict(const model::KernelTime& time);

}  // namespace npu_sim::python
