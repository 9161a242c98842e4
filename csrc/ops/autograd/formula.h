// A derivative as text, in the manner of torch's derivatives.yaml:
//
//   "input, gamma: npu_rms_norm_backward(grad, input, gamma, result1)"
//
// Before the colon: which arguments get a gradient, in the order of the backward operator's
// results (a result that nobody wants is "_"). Inside: `grad` or `grad1` (of result 0, 1), an
// argument of the forward operator by name, `result0`, `input.sizes`, `input.size1` and
// `input.dtype` of a tensor argument, `!flag` of a boolean one, a number, `grad_input_mask` for
// which gradients are wanted. What is not given takes its default; `name=value` gives a keyword
// argument.
//
// "; bias: grad" at the end gives `bias` that gradient itself, which autograd sums over the axes
// along which bias was broadcast.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace npu_sim::ops {

// Where the value of one argument of the backward operator comes from.
struct Source {
  enum class Kind : std::uint8_t {
    kGrad,
    kArgument,
    kSizes,
    kSize,
    kDtype,
    kNot,
    kNumber,
    kResult,
    kWanted,
    kDefault
  };
  Kind kind = Kind::kDefault;
  std::size_t index = 0;  // of the argument, gradient or result; the number itself
  std::size_t axis = 0;   // of kSize
};

// An argument whose gradient is that of a result.
struct Passed {
  std::size_t argument = 0;
  std::size_t grad = 0;
};

struct Formula {
  c10::OperatorHandle forward;
  c10::OperatorHandle backward;
  std::vector<std::ptrdiff_t> inputs;  // argument that each result of `backward` is for; -1: none
  std::vector<Source> sources;         // one an argument of `backward`
  std::vector<Passed> passed;          // edges of these come after those of `inputs`

  // Whether the backward operator reads the gradient of result `index`, or an argument gets it.
  [[nodiscard]] bool reads_grad(std::size_t index) const;
};

// Reads `text`, which may name only arguments and results that the schemas have.
// Throws c10::Error on anything else: a wrong formula fails when it is first used, in every test.
[[nodiscard]] Formula parse_formula(const c10::OperatorHandle& forward, std::string_view text);

}  // namespace npu_sim::ops
