// Errors that the torch-free rooms raise; the backend turns them into torch's own kinds.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace npu_sim::base {

// One line: who, what was expected, what came, the way out.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A wrong value from the user (bad index, bad name); Python sees ValueError or RuntimeError.
class ValueError : public Error {
 public:
  using Error::Error;
};

// The simulated card is full. Becomes torch.OutOfMemoryError.
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

}  // namespace npu_sim::base
