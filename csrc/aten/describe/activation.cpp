// Activations and their gradients, and dropout's masks.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

// sigmoid(x) = 1 / (1 + exp(-x)): two full-rate, one exp, one division. tanh likewise of 2x with a
// clamp. gelu, by erf too, is x / (1 + exp(-2 u)) of a cubic u: the measured time of both forms on
// the 950PR (hicann/cann-bench@d59d44c) is that of sigmoid.
constexpr Entry kEntries[] = {
    {"relu", elements<1>},
    {"threshold", elements<2>},
    {"threshold_backward", elements<2>},
    {"hardtanh", elements<2>},
    {"hardtanh_backward", elements<3>},
    {"relu6", elements<2>},
    {"leaky_relu", elements<2>},
    {"leaky_relu_backward", elements<3>},
    {"_prelu_kernel", elements<3>},
    {"_prelu_kernel_backward", elements<5>},
    {"rrelu_with_noise", elements<3>},
    {"rrelu_with_noise_functional", elements<3>},
    {"rrelu_with_noise_backward", elements<3>},
    {"elu", elements<4, 1>},
    {"elu_backward", elements<5, 1>},
    {"celu", elements<5, 1>},
    {"sigmoid", elements<2, 2>},
    {"sigmoid_backward", elements<3>},
    {"log_sigmoid_forward", elements<9, 2>},
    {"log_sigmoid_backward", elements<6, 1>},
    {"tanh", elements<5, 2>},
    {"tanh_backward", elements<3>},
    {"silu", elements<2, 2>},
    {"silu_backward", elements<6, 2>},
    {"mish", elements<14, 4>},
    {"mish_backward", elements<22, 5>},
    {"gelu", elements<8, 2>},
    {"gelu_backward", elements<16, 2>},
    {"glu", elements<3, 2>},
    {"glu_backward", elements<6, 2>},
    {"glu_jvp", elements<6, 2>},
    {"glu_backward_jvp", elements<12, 2>},
    {"hardsigmoid", elements<3>},
    {"hardsigmoid_backward", elements<4>},
    {"hardswish", elements<4>},
    {"hardswish_backward", elements<6>},
    {"hardshrink", elements<3>},
    {"hardshrink_backward", elements<3>},
    {"softshrink", elements<5>},
    {"softshrink_backward", elements<3>},
    {"softplus", elements<9, 2>},
    {"softplus_backward", elements<5, 2>},
    {"logit", elements<3, 2>},
    {"logit_backward", elements<5, 1>},
    {"native_dropout_backward", elements<2>},
    {"_masked_scale", elements<2>},
};

}  // namespace

Entries activation_entries() { return kEntries; }

}  // namespace npu_sim::aten
