// What the route knows of one operator, read from its schema once.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <string_view>
#include <vector>

#include "aten/describe/registry.h"

namespace npu_sim::aten {

enum class ArgumentKind : std::uint8_t {
  kTensor,
  kTensorList,
  kOptionalTensorList,
  kDevice,
  kGenerator,
  kOther
};

struct Argument {
  ArgumentKind kind = ArgumentKind::kOther;
  bool written = false;
  bool only_written = false;  // an out= argument
  bool may_be_host = false;   // a CPU tensor of any shape may stand here: indices, lengths
};

struct Operator {
  std::string_view name;  // "aten::add.Tensor", lives as long as the process
  std::vector<Argument> arguments;
  std::size_t results = 0;
  std::ptrdiff_t device_argument = -1;  // which argument says where results go; -1: none does
  Description description;
  bool indexes = false;               // takes a list of optional index tensors
  bool asks_requires_grad = false;    // its CPU kernel decides by requires_grad of its inputs
  bool writes_tensors = false;        // writes a tensor argument, and may resize it
  bool counts_versions = false;       // torch leaves it to the kernel to bump what it wrote
  bool draws_default_random = false;  // random, but without a Generator argument
  // The host needs the values: a bool, a number, a shape. Of one that indexes: only for a mask.
  bool answers_host = false;
};

// The entry of `handle`; made at its first call. Thread-safe.
[[nodiscard]] const Operator& operator_of(const c10::OperatorHandle& handle);

// The list of an argument of kind kOptionalTensorList. TorchScript types it `Tensor?[]` with a type
// object of its own or, if it holds no None, `Tensor[]`; IValue converts neither.
[[nodiscard]] c10::List<std::optional<at::Tensor>> optional_tensors(const c10::IValue& value);

}  // namespace npu_sim::aten
