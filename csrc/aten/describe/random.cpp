// Constants, sequences and random numbers: tensors that are written without being read.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

using base::Bytes;
using model::Work;

// Like elements<>, but an in-place call does not read the tensor that it fills.
template <int linear, int special = 0>
Work generated(const Call& call) {
  Traffic traffic = traffic_of(call);
  const at::Tensor& self = tensor_at(call, 0);
  if (self.defined() && output_of(call).is_same(self)) traffic.read -= bytes_of(self);
  return model::VectorWork{.elements = traffic.elements,
                           .read = traffic.read,
                           .written = traffic.written,
                           .compute = traffic.compute,
                           .linear_ops = linear,
                           .special_ops = special};
}

// Like generated<>; the tensor argument gives shape and dtype only.
template <int linear, int special = 0>
Work like(const Call& call) {
  const at::Tensor& out = output_of(call);
  return model::VectorWork{.elements = elements_of(out),
                           .written = bytes_of(out),
                           .compute = format_of(out),
                           .linear_ops = linear,
                           .special_ops = special};
}

// With replacement each draw searches the running sum; without, noise is added and the largest
// taken. Both sweep the probabilities twice.
Work multinomial(const Call& call) {
  const at::Tensor& weights = tensor_at(call, 0);
  return row_wise(call, size_along(weights, -1),
                  {.linear = 30, .special = 2, .reductions = 2, .passes = 2});
}

// Philox4x32-10 makes four numbers in ten rounds of two wide multiplies, four exclusive ors and two
// key additions (about 25 instructions a number); converting to [0, 1) takes three.
constexpr int kUniform = 28;
// Box-Muller adds a logarithm, a root and a sine or cosine.
constexpr int kNormal = kUniform + 16;
// Rejection loops take a few tries, each with a logarithm.
constexpr int kRejection = 4 * kUniform;

constexpr Entry kFactories[] = {
    {"fill", like<1>},
    {"zero", like<1>},
    {"full", like<1>},
    {"full_like", like<1>},
    {"ones", like<1>},
    {"ones_like", like<1>},
    {"zeros", like<1>},
    {"zeros_like", like<1>},
    {"_new_zeros_with_same_feature_meta", like<1>},
    {"new_full", like<1>},
    {"new_ones", like<1>},
    {"new_zeros", like<1>},
    {"scalar_tensor", like<1>},
    {"fill_diagonal", like<1>},
    {"eye", like<3>},
    {"arange", like<2>},
    {"range", like<2>},
    {"linspace", like<3>},
    {"logspace", like<5, 1>},
    {"tril_indices", like<8, 1>},
    {"triu_indices", like<8, 1>},
    {"hann_window", like<17>},
    {"hamming_window", like<17>},
    {"blackman_window", like<33>},
    {"bartlett_window", like<4>},
    {"kaiser_window", like<60, 3>},
    {"fft_fftfreq", like<3>},
    {"fft_rfftfreq", like<3>},
    {"affine_grid_generator", generated<6>},
    {"affine_grid_generator_backward", generated<6>},
};

constexpr Entry kRandom[] = {
    {"uniform", generated<kUniform>},
    {"random", generated<kUniform>},
    {"rand", like<kUniform>},
    {"rand_like", like<kUniform>},
    {"randint", like<kUniform>},
    {"randint_like", like<kUniform>},
    {"normal", generated<kNormal, 1>},
    {"normal_functional", generated<kNormal, 1>},
    {"randn", like<kNormal, 1>},
    {"randn_like", like<kNormal, 1>},
    {"log_normal", generated<kNormal, 2>},
    {"bernoulli", generated<kUniform + 1>},
    {"exponential", generated<kUniform + 1, 1>},
    {"geometric", generated<kUniform + 1, 2>},
    {"cauchy", generated<kUniform + 20, 1>},
    {"poisson", generated<kRejection, 4>},
    {"binomial", generated<kRejection, 4>},
    {"_standard_gamma", generated<kRejection, 8>},
    {"_sample_dirichlet", generated<kRejection, 8>},
    {"native_dropout", elements<kUniform + 3>},
    {"_fused_dropout", elements<kUniform + 3>},
    {"multinomial", multinomial},
};

}  // namespace

Entries factory_entries() { return kFactories; }
Entries random_entries() { return kRandom; }

}  // namespace npu_sim::aten
