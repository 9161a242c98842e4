// Addresses on the card that an operator reads and writes, for the L2 of the model.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <initializer_list>

#include "model/memory/l2.h"

namespace npu_sim::aten {

// From the first to the last byte of every dense npu tensor; other tensors (CPU scalars, undefined,
// sparse and nested ones) name nothing.
class Touched {
 public:
  Touched() = default;
  Touched(std::initializer_list<const at::Tensor*> read,
          std::initializer_list<const at::Tensor*> written) {
    for (const at::Tensor* tensor : read) reads(*tensor);
    for (const at::Tensor* tensor : written) writes(*tensor);
  }

  void reads(const at::Tensor& tensor) { add(tensor, read_); }
  void writes(const at::Tensor& tensor) { add(tensor, written_); }

  [[nodiscard]] model::Footprint footprint() const {
    return {.read = {read_.data(), read_.size()}, .written = {written_.data(), written_.size()}};
  }

 private:
  using Ranges = c10::SmallVector<model::AddressRange, 4>;
  static void add(const at::Tensor& tensor, Ranges& ranges);

  Ranges read_;
  Ranges written_;
};

}  // namespace npu_sim::aten
