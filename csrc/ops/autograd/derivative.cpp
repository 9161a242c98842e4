#include "ops/autograd/derivative.h"

#include <ATen/core/VariableHooksInterface.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <mutex>
#include <string>
#include <unordered_map>

#include "ops/autograd/formula.h"
#include "ops/autograd/node.h"

namespace npu_sim::ops {
namespace {

using c10::IValue;
using torch::jit::Stack;

// Formulas as registered, and as read at the first call: the backward operator may be defined
// after the forward one, so they cannot be read while the library loads.
class Formulas {
 public:
  void add(std::string name, std::string_view text) {
    const std::lock_guard lock(mutex_);
    texts_.emplace(std::move(name), text);
  }

  const Formula& of(const c10::OperatorHandle& op) {
    const std::lock_guard lock(mutex_);
    const std::string& name = op.operator_name().name;
    const auto found = read_.find(name);
    if (found != read_.end()) return found->second;
    return read_.emplace(name, parse_formula(op, texts_.at(name))).first->second;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::string_view> texts_;
  std::unordered_map<std::string, Formula> read_;
};

Formulas& formulas() {
  static auto* const instance = new Formulas();  // outlives backward passes of exiting threads
  return *instance;
}

at::Tensor tensor_of(const IValue& value) {
  return value.isTensor() ? value.toTensor() : at::Tensor();
}

// The tensors that may get a gradient, in the order of the node's edges.
torch::autograd::variable_list differentiable(const Formula& formula,
                                              c10::ArrayRef<IValue> arguments) {
  torch::autograd::variable_list inputs;
  for (const std::ptrdiff_t input : formula.inputs) {
    if (input >= 0) inputs.push_back(tensor_of(arguments[static_cast<std::size_t>(input)]));
  }
  for (const Passed& one : formula.passed) inputs.push_back(tensor_of(arguments[one.argument]));
  return inputs;
}

bool has_gradient(const at::Tensor& tensor) {
  return tensor.defined() && (tensor.is_floating_point() || tensor.is_complex());
}

// Results whose gradient the formula reads are differentiable, unless they are integers; the others
// take their place among the node's inputs without an edge.
void set_history(const Formula& formula, c10::ArrayRef<IValue> results,
                 const c10::intrusive_ptr<FormulaNode>& node) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const at::Tensor result = tensor_of(results[i]);
    const bool reaches = formula.reads_grad(i) && has_gradient(result);
    torch::autograd::set_history(reaches ? result : at::Tensor(), node);
  }
  node->keep_results(results);
}

void differentiate(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
  const Formula& formula = formulas().of(op);
  const std::size_t arity = op.schema().arguments().size();
  const c10::ArrayRef<IValue> arguments = torch::jit::last(*stack, arity);
  c10::intrusive_ptr<FormulaNode> node;
  if (c10::GradMode::is_enabled()) {
    const auto inputs = differentiable(formula, arguments);
    if (torch::autograd::any_variable_requires_grad(inputs)) {
      node = c10::make_intrusive<FormulaNode>(formula);
      node->set_next_edges(torch::autograd::collect_next_edges(inputs));
      node->keep_arguments(arguments);
    }
  }
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(keys & c10::after_ADInplaceOrView_keyset, stack);
  }
  if (!node) return;
  set_history(formula, torch::jit::last(*stack, op.schema().returns().size()), node);
}

}  // namespace

void derivative(torch::Library& library, const char* name, std::string_view formula) {
  formulas().add("npu::" + std::string(name), formula);
  library.impl(name, torch::dispatch(c10::DispatchKey::Autograd,
                                     torch::CppFunction::makeFromBoxedFunction<&differentiate>()));
}

}  // namespace npu_sim::ops
