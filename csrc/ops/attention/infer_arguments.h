// The call of an operator of inference attention as its schema spells it.
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <initializer_list>
#include <string_view>

#include "ops/attention/infer_call.h"

namespace npu_sim::ops {

// Arguments by name. The operators have the same ones under several names, and some lack a few:
// each question names all that an argument may have, and the first one that the schema knows is
// meant.
class InferArguments {
 public:
  using Names = std::initializer_list<const char*>;

  InferArguments(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> values)
      : schema_(schema), values_(values) {}

  [[nodiscard]] MaybeTensor tensor(Names names) const;
  [[nodiscard]] std::optional<Integers> integers(Names names) const;
  [[nodiscard]] std::optional<std::int64_t> integer(Names names) const;
  [[nodiscard]] std::optional<double> number(Names names) const;
  [[nodiscard]] bool flag(Names names) const;
  [[nodiscard]] std::string_view text(Names names, std::string_view fallback) const;
  [[nodiscard]] std::vector<at::Tensor> tensors(Names names) const;

 private:
  // nullptr: the operator has no such argument, or got None.
  [[nodiscard]] const c10::IValue* find(Names names) const;

  const c10::FunctionSchema& schema_;
  c10::ArrayRef<c10::IValue> values_;
};

// The call; `names` must live as long as it does. key is value where the operator has no key.
[[nodiscard]] InferCall infer_call(const InferNames& names, const InferArguments& arguments);

}  // namespace npu_sim::ops
