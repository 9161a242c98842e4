#include "ops/autograd/node.h"

#include <algorithm>
#include <mutex>

namespace npu_sim::ops {

using c10::IValue;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

void FormulaNode::keep_arguments(c10::ArrayRef<IValue> arguments) {
  keep_all(Source::Kind::kArgument, arguments);
  keep_derived(arguments);
}

void FormulaNode::keep_derived(c10::ArrayRef<IValue> arguments) {
  for (std::size_t i = 0; i < formula_.sources.size(); ++i) {
    const Source& source = formula_.sources[i];
    if (source.kind == Source::Kind::kSizes) {
      kept_[i].value = IValue(arguments[source.index].toTensor().sym_sizes());
    } else if (source.kind == Source::Kind::kSize) {
      const at::Tensor tensor = arguments[source.index].toTensor();
      kept_[i].value = IValue(tensor.sym_size(static_cast<std::int64_t>(source.axis)));
    } else if (source.kind == Source::Kind::kDtype) {
      kept_[i].value = IValue(arguments[source.index].toTensor().scalar_type());
    } else if (source.kind == Source::Kind::kNot) {
      kept_[i].value = IValue(!arguments[source.index].toBool());
    }
  }
}

IValue FormulaNode::wanted() const {
  c10::List<bool> flags;
  std::size_t edge = 0;
  for (const std::ptrdiff_t input : formula_.inputs) {
    flags.push_back(input >= 0 && task_should_compute_output(edge));
    if (input >= 0) ++edge;
  }
  return flags;
}

void FormulaNode::keep_results(c10::ArrayRef<IValue> results) {
  keep_all(Source::Kind::kResult, results);
}

void FormulaNode::keep_all(Source::Kind kind, c10::ArrayRef<IValue> values) {
  for (std::size_t i = 0; i < formula_.sources.size(); ++i) {
    const Source& source = formula_.sources[i];
    if (source.kind != kind) continue;
    const IValue& value = values[source.index];
    kept_[i].is_tensor = value.isTensor() && value.toTensor().defined();
    if (kept_[i].is_tensor) {
      kept_[i].tensor = SavedVariable(value.toTensor(), kind == Source::Kind::kResult);
    } else {
      kept_[i].value = value;
    }
  }
}

IValue FormulaNode::value_of(std::size_t position, const variable_list& grads) {
  const Source& source = formula_.sources[position];
  switch (source.kind) {
    case Source::Kind::kGrad: {
      if (grads[source.index].defined()) return grads[source.index];
      const auto& result = input_metadata(source.index);
      if (result.was_default_constructed()) return at::Tensor();  // the forward call gave none
      return result.zeros_like();
    }
    case Source::Kind::kDefault: {
      const auto& argument = formula_.backward.schema().arguments()[position];
      return argument.default_value().value_or(IValue());
    }
    case Source::Kind::kNumber: return static_cast<std::int64_t>(source.index);
    case Source::Kind::kWanted: return wanted();
    case Source::Kind::kArgument:
    case Source::Kind::kSizes:
    case Source::Kind::kSize:
    case Source::Kind::kDtype:
    case Source::Kind::kNot:
    case Source::Kind::kResult: break;
  }
  const Kept& one = kept_[position];
  return one.is_tensor ? IValue(one.tensor.unpack(getptr())) : one.value;
}

variable_list FormulaNode::apply(variable_list&& grads) {
  const std::lock_guard lock(mutex_);
  variable_list results(num_outputs());
  if (std::ranges::none_of(grads, [](const at::Tensor& grad) { return grad.defined(); })) {
    return results;
  }
  const std::size_t first_passed = num_outputs() - formula_.passed.size();
  if (computes_any_before(first_passed)) call_backward(grads, results);
  for (std::size_t i = 0; i < formula_.passed.size(); ++i) {
    results[first_passed + i] = grads[formula_.passed[i].grad];
  }
  return results;
}

bool FormulaNode::computes_any_before(std::size_t end) const {
  for (std::size_t edge = 0; edge < end; ++edge) {
    if (should_compute_output(edge)) return true;
  }
  return false;
}

void FormulaNode::call_backward(const variable_list& grads, variable_list& results) {
  torch::jit::Stack stack;
  for (std::size_t i = 0; i < formula_.sources.size(); ++i) stack.push_back(value_of(i, grads));
  formula_.backward.callBoxed(&stack);
  std::size_t edge = 0;
  for (std::size_t i = 0; i < formula_.inputs.size(); ++i) {
    if (formula_.inputs[i] < 0) continue;
    if (should_compute_output(edge) && stack[i].isTensor()) results[edge] = stack[i].toTensor();
    ++edge;
  }
}

void FormulaNode::release_variables() {
  const std::lock_guard lock(mutex_);
  for (Kept& one : kept_) one.tensor.reset_data();
}

}  // namespace npu_sim::ops
