// The backward pass of one call of an operator that a formula makes differentiable.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <string>
#include <vector>

#include "ops/autograd/formula.h"

namespace npu_sim::ops {

class FormulaNode final : public torch::autograd::Node {
 public:
  explicit FormulaNode(const Formula& formula) : formula_(formula), kept_(formula.sources.size()) {}

  // Keeps what the formula reads. Arguments before the forward call, which may change them.
  void keep_arguments(c10::ArrayRef<c10::IValue> arguments);
  void keep_results(c10::ArrayRef<c10::IValue> results);

  // Calls the backward operator; a gradient of a result that nobody computed is zero.
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override;
  void release_variables() override;
  std::string name() const override { return formula_.forward.schema().name() + "Backward"; }

 private:
  // A tensor as autograd keeps them, or any other value.
  struct Kept {
    torch::autograd::SavedVariable tensor;
    c10::IValue value;
    bool is_tensor = false;
  };

  void keep_all(Source::Kind kind, c10::ArrayRef<c10::IValue> values);
  // Keeps what the formula makes of an argument: its sizes or dtype, or a flag's opposite.
  void keep_derived(c10::ArrayRef<c10::IValue> arguments);
  // Which of the inputs that the formula names need a gradient.
  c10::IValue wanted() const;
  bool computes_any_before(std::size_t end) const;
  void call_backward(const torch::autograd::variable_list& grads,
                     torch::autograd::variable_list& results);
  c10::IValue value_of(std::size_t position, const torch::autograd::variable_list& grads);

  const Formula& formula_;
  std::vector<Kept> kept_;  // one an argument of the backward operator
};

}  // namespace npu_sim::ops
