// LSTM and GRU cells: torch takes the fused path on any out-of-tree device, so the fused kernels
// must exist. Layouts and workspaces are those of torch's CUDA kernels.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

namespace npu_sim::aten {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

Tensor with_bias(const Tensor& gates, const OptionalTensor& bias) {
  return bias.has_value() && bias->defined() ? gates + *bias : gates;
}

// (hidden [batch, h], cell [batch, h], workspace [batch, 4 h] of activated gates i, f, g, o)
std::tuple<Tensor, Tensor, Tensor> lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates,
                                             const Tensor& cell, const OptionalTensor& input_bias,
                                             const OptionalTensor& hidden_bias) {
  const Tensor gates = with_bias(input_gates, input_bias) + with_bias(hidden_gates, hidden_bias);
  const std::vector<Tensor> parts = gates.chunk(4, 1);
  const Tensor i = parts[0].sigmoid();
  const Tensor f = parts[1].sigmoid();
  const Tensor g = parts[2].tanh();
  const Tensor o = parts[3].sigmoid();
  const Tensor next = f * cell + i * g;
  return {o * next.tanh(), next, at::cat({i, f, g, o}, 1)};
}

// (grad of all gates [batch, 4 h], grad of the cell, grad of a bias)
std::tuple<Tensor, Tensor, Tensor> lstm_cell_backward(const OptionalTensor& grad_hidden,
                                                      const OptionalTensor& grad_cell,
                                                      const Tensor& cell, const Tensor& next,
                                                      const Tensor& workspace, bool has_bias) {
  const std::vector<Tensor> parts = workspace.chunk(4, 1);
  const Tensor &i = parts[0], &f = parts[1], &g = parts[2], &o = parts[3];
  const Tensor tanh_next = next.tanh();
  const bool hidden = grad_hidden.has_value() && grad_hidden->defined();
  Tensor through_cell =
      grad_cell.has_value() && grad_cell->defined() ? *grad_cell : at::zeros_like(next);
  if (hidden) through_cell = through_cell + *grad_hidden * o * (1 - tanh_next * tanh_next);
  const Tensor grad_o = hidden ? *grad_hidden * tanh_next * o * (1 - o) : at::zeros_like(o);
  const Tensor gates = at::cat({through_cell * g * i * (1 - i), through_cell * cell * f * (1 - f),
                                through_cell * i * (1 - g * g), grad_o},
                               1);
  return {gates, through_cell * f, has_bias ? gates.sum(0) : Tensor()};
}

// (hidden [batch, h], workspace [batch, 5 h]: r, z, n, previous hidden, hidden part of n)
std::tuple<Tensor, Tensor> gru_cell(const Tensor& input_gates, const Tensor& hidden_gates,
                                    const Tensor& hidden, const OptionalTensor& input_bias,
                                    const OptionalTensor& hidden_bias) {
  const std::vector<Tensor> input = with_bias(input_gates, input_bias).chunk(3, 1);
  const std::vector<Tensor> recurrent = with_bias(hidden_gates, hidden_bias).chunk(3, 1);
  const Tensor r = (input[0] + recurrent[0]).sigmoid();
  const Tensor z = (input[1] + recurrent[1]).sigmoid();
  const Tensor n = (input[2] + r * recurrent[2]).tanh();
  return {(hidden - n) * z + n, at::cat({r, z, n, hidden, recurrent[2]}, 1)};
}

// (grad of input gates, of hidden gates, of hidden, of the input bias, of the hidden bias)
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_cell_backward(const Tensor& grad,
                                                                     const Tensor& workspace,
                                                                     bool has_bias) {
  const std::vector<Tensor> parts = workspace.chunk(5, 1);
  const Tensor &r = parts[0], &z = parts[1], &n = parts[2], &hidden = parts[3],
               &recurrent_n = parts[4];
  const Tensor grad_z = grad * (hidden - n) * z * (1 - z);
  const Tensor grad_n = grad * (1 - z) * (1 - n * n);
  const Tensor grad_r = grad_n * recurrent_n * r * (1 - r);
  const Tensor input = at::cat({grad_r, grad_z, grad_n}, 1);
  const Tensor recurrent = at::cat({grad_r, grad_z, grad_n * r}, 1);
  return {input, recurrent, grad * z, has_bias ? input.sum(0) : Tensor(),
          has_bias ? recurrent.sum(0) : Tensor()};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_thnn_fused_lstm_cell", &lstm_cell);
  m.impl("_thnn_fused_lstm_cell_backward_impl", &lstm_cell_backward);
  m.impl("_thnn_fused_gru_cell", &gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", &gru_cell_backward);
}

}  // namespace
}  // namespace npu_sim::aten
