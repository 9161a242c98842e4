// Operators that stay on the card although no aclnn kernel bears their name.
#include <algorithm>

#include "aten/describe/card_operators.h"

namespace npu_sim::aten {
namespace {

// clang-format off
// Moves and fills: the copy kernels and the constants of aclnn serve them.
constexpr std::string_view kCopiesAndFills[] = {
    "_to_copy", "clone", "copy", "_copy_from", "contiguous", "to", "type_as", "reshape", "flatten",
    "resolve_conj", "resolve_neg", "narrow_copy", "_stack", "_cat", "_local_scalar_dense",
    "pixel_shuffle", "pixel_unshuffle", "native_channel_shuffle", "rot90", "block_diag",
    "select_backward", "slice_backward", "diagonal_backward", "select_scatter", "slice_scatter",
    "diagonal_scatter", "as_strided_scatter", "diag_embed", "full", "full_like", "zeros_like",
    "ones_like", "new_full", "new_ones", "new_zeros", "scalar_tensor", "_foreach_clone",
    "hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window",
    "fft_fftfreq", "fft_rfftfreq", "unbind_copy", "split_copy", "split_with_sizes_copy",
    "unfold_copy", "_new_zeros_with_same_feature_meta",
};

// Element-wise operators that one or two listed kernels make up, and draws of listed generators.
constexpr std::string_view kElementWiseChains[] = {
    "conj_physical", "_conj_physical", "isnan", "isinf", "square", "deg2rad", "rad2deg", "ldexp",
    "true_divide", "masked_fill", "float_power", "__and__", "__or__", "__xor__", "__iand__",
    "__ixor__", "rand", "rand_like", "randn", "randn_like", "randint", "randint_like",
    "_fused_dropout", "rrelu_with_noise_backward", "rrelu_with_noise_functional", "_foreach_rsqrt",
    "_assert_async", "_functional_assert_async", "masked_scatter_backward",
};

// torch splits or names these otherwise than the card, whose kernel for the same job is listed:
// norms and softmax, convolutions by rank, attention, indexing, products, reductions, matrices.
constexpr std::string_view kKnownOtherwise[] = {
    "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update", "_batch_norm_with_update_functional", "_batch_norm_no_update",
    "batch_norm_backward", "batch_norm_update_stats", "layer_norm", "rms_norm", "_fused_rms_norm",
    "_fused_rms_norm_backward", "_weight_norm_interface", "_weight_norm_interface_backward",
    "log_softmax", "_safe_softmax", "_masked_softmax_backward", "slow_conv3d_forward",
    "slow_conv_dilated3d", "slow_conv_transpose3d", "conv_depthwise3d", "mkldnn_convolution",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_fused_attention_overrideable_backward",
    "_scaled_dot_product_attention_math", "_unsafe_index", "_unsafe_index_put",
    "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate", "nonzero_static",
    "unique_dim_consecutive", "_embedding_bag_backward", "_embedding_bag_dense_backward", "linear",
    "linear_backward", "einsum", "_grouped_mm", "_trilinear", "_euclidean_dist", "_foreach_mm",
    "cummax", "cummin", "native_norm", "linalg__powsum", "_foreach_max", "_foreach_powsum", "dist",
    "_is_all_true", "_is_any_true", "allclose", "msort", "adaptive_avg_pool1d", "avg_pool1d",
    "max_pool2d_backward", "linalg_cholesky_ex", "cholesky", "linalg_inv_ex", "_linalg_slogdet",
};

// torch_npu has AdamW and SGD fused; the others of the family are chains of foreach kernels.
constexpr std::string_view kFusedOptimizers[] = {
    "_fused_adam", "_fused_adagrad",
};
// clang-format on

template <std::size_t size>
bool holds(const std::string_view (&names)[size], std::string_view base) {
  return std::ranges::find(names, base) != std::end(names);
}

}  // namespace

bool is_composed_on_card(std::string_view base) {
  return holds(kCopiesAndFills, base) || holds(kElementWiseChains, base) ||
         holds(kKnownOtherwise, base) || holds(kFusedOptimizers, base);
}

}  // namespace npu_sim::aten
