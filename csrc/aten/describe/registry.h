// From an operator's name to the describer that says what its calls ask of the machine.
#pragma once

#include <ATen/core/operator_name.h>
#include <c10/util/ArrayRef.h>

#include <string_view>

#include "aten/describe/entry.h"

namespace npu_sim::aten {

struct Description {
  Describer describer = nullptr;
  c10::ArrayRef<Describer> rest{};  // further kernels of the same call; NoWork ones are skipped
  Describer nested = nullptr;       // in the place of all these for nested tensors: reads no size
  bool native = true;     // false: the card lacks the operator, `describer` answers HostWork
  bool described = true;  // false: nobody has described it, `describer` answers UndescribedWork
};

// Looks an operator up; ask once an operator and keep the answer. Never fails: an operator without
// an entry is timed by the bytes of its tensors. The overload's own entry comes before its name's.
[[nodiscard]] Description describe(const c10::OperatorName& name);

// Entries of operators that another room defines (`npu::...`). Called while the library loads, and
// `entries` must live as long as the process; returns true, so that a constant can be made of it.
bool add_entries(c10::ArrayRef<Entry> entries);

// The describer of `describe(name)`.
[[nodiscard]] inline Describer describer_of(const c10::OperatorName& name) {
  return describe(name).describer;
}

// "aten::add_" -> "add": the name that functional, in-place and out= variants share. A dunder
// name ("__ior__") stays as it is.
[[nodiscard]] std::string_view base_name(std::string_view qualified);

// Whether the card runs the operator itself: an aclnn kernel of it or of one of its variants, or a
// chain of such kernels.
[[nodiscard]] bool is_native(const c10::OperatorName& name);

}  // namespace npu_sim::aten
