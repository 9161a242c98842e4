// Operators with an aclnn kernel, by base name (overloads, in-place and out= variants fall
// together). Source: Ascend/op-plugin, op_plugin/config/op_plugin_functions.yaml, branch for
// torch 2.13.
#include "aten/describe/card_operators.h"

#include <algorithm>
#include <array>

namespace npu_sim::aten {
namespace {

// Sorted.
// clang-format off
constexpr std::array<std::string_view, 445> kCardOperators = {
    "__ilshift__", "__ior__", "__irshift__", "__lshift__", "__rshift__", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d", "_adaptive_avg_pool3d_backward",
    "_add_relu", "_addmm_activation", "_aminmax", "_amp_foreach_non_finite_check_and_unscale",
    "_amp_update_scale", "_cdist_backward", "_cdist_forward", "_chunk_cat", "_conv_depthwise2d",
    "_convolution", "_ctc_loss", "_ctc_loss_backward", "_cummax_helper", "_cummin_helper",
    "_embedding_bag", "_embedding_bag_forward_only", "_embedding_bag_per_sample_weights_backward",
    "_fft_c2c", "_fft_c2r", "_fft_r2c", "_foreach_abs", "_foreach_acos", "_foreach_add",
    "_foreach_addcdiv", "_foreach_addcmul", "_foreach_asin", "_foreach_atan", "_foreach_ceil",
    "_foreach_clamp_max", "_foreach_clamp_min", "_foreach_copy", "_foreach_cos", "_foreach_cosh",
    "_foreach_div", "_foreach_erf", "_foreach_erfc", "_foreach_exp", "_foreach_expm1",
    "_foreach_floor", "_foreach_frac", "_foreach_lerp", "_foreach_log", "_foreach_log10",
    "_foreach_log1p", "_foreach_log2", "_foreach_maximum", "_foreach_minimum", "_foreach_mul",
    "_foreach_neg", "_foreach_norm", "_foreach_pow", "_foreach_reciprocal", "_foreach_round",
    "_foreach_sigmoid", "_foreach_sign", "_foreach_sin", "_foreach_sinh", "_foreach_sqrt",
    "_foreach_sub", "_foreach_tan", "_foreach_tanh", "_foreach_trunc", "_foreach_zero",
    "_fused_adamw", "_fused_sdp_choice", "_fused_sgd", "_index_put_impl", "_linalg_svd",
    "_log_softmax", "_log_softmax_backward_data", "_masked_scale", "_masked_softmax",
    "_native_batch_norm_legit", "_native_multi_head_attention", "_nnpack_spatial_convolution",
    "_pack_padded_sequence", "_pad_packed_sequence", "_pdist_forward", "_prelu_kernel",
    "_prelu_kernel_backward", "_scaled_grouped_mm", "_scaled_grouped_mm_v2", "_scaled_mm",
    "_scaled_mm_v2", "_slow_conv2d_backward", "_slow_conv2d_forward", "_softmax",
    "_softmax_backward_data", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell",
    "_thnn_fused_lstm_cell_backward_impl", "_transform_bias_rescale_qkv", "_unique", "_unique2",
    "_upsample_bicubic2d_aa", "_upsample_bicubic2d_aa_backward", "_upsample_bilinear2d_aa",
    "_upsample_bilinear2d_aa_backward", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact1d_backward", "_upsample_nearest_exact2d",
    "_upsample_nearest_exact2d_backward", "_upsample_nearest_exact3d",
    "_upsample_nearest_exact3d_backward", "_weight_norm", "abs", "acos", "acosh",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d", "adaptive_max_pool2d_backward", "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr",
    "affine_grid_generator", "affine_grid_generator_backward", "all", "amax", "amin", "aminmax",
    "angle", "any", "arange", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2",
    "atanh", "avg_pool2d", "avg_pool2d_backward", "avg_pool3d", "avg_pool3d_backward", "baddbmm",
    "batch_norm_backward_elemt", "batch_norm_backward_reduce", "batch_norm_elemt",
    "batch_norm_gather_stats_with_counts", "batch_norm_stats", "bernoulli", "binary_cross_entropy",
    "binary_cross_entropy_backward", "binary_cross_entropy_with_logits", "bincount", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bmm",
    "bucketize", "cat", "cdist", "ceil", "celu", "channel_shuffle", "clamp", "clamp_max",
    "clamp_min", "col2im", "complex", "constant_pad_nd", "conv_tbc", "conv_tbc_backward",
    "convolution", "convolution_backward", "convolution_backward_overrideable",
    "convolution_overrideable", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "div", "dot",
    "elu", "elu_backward", "embedding", "embedding_dense_backward", "embedding_renorm", "eq",
    "equal", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "exponential", "eye", "fft_fftshift",
    "fft_ifftshift", "fill", "fill_diagonal", "flip", "floor", "floor_divide", "fmod", "frac",
    "gather", "gcd", "ge", "gelu", "gelu_backward", "glu", "glu_backward", "grid_sampler_2d",
    "grid_sampler_2d_backward", "grid_sampler_3d", "grid_sampler_3d_backward", "gru", "gt",
    "hardshrink", "hardshrink_backward", "hardsigmoid", "hardsigmoid_backward", "hardswish",
    "hardswish_backward", "hardtanh", "hardtanh_backward", "histc", "im2col", "index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "inverse", "isclose", "isfinite",
    "isin", "isneginf", "isposinf", "kl_div", "kthvalue", "l1_loss", "le", "leaky_relu",
    "leaky_relu_backward", "lerp", "linalg_cholesky", "linalg_cross", "linalg_qr",
    "linalg_solve_triangular", "linalg_vector_norm", "linspace", "log", "log10", "log1p", "log2",
    "log_sigmoid", "log_sigmoid_backward", "log_sigmoid_forward", "logaddexp", "logaddexp2",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logit_backward",
    "logspace", "logsumexp", "lstm", "lt", "masked_fill", "masked_scatter", "masked_select",
    "matmul", "matmul_backward", "max", "max_pool2d_with_indices",
    "max_pool2d_with_indices_backward", "max_pool3d_with_indices",
    "max_pool3d_with_indices_backward", "max_unpool2d", "max_unpool3d", "maximum", "mean", "median",
    "min", "minimum", "mish", "mish_backward", "mm", "mse_loss", "mse_loss_backward", "mul",
    "multilabel_margin_loss", "multilabel_margin_loss_forward", "multinomial", "mv", "nan_to_num",
    "nanmean", "nanmedian", "nansum", "native_batch_norm", "native_batch_norm_backward",
    "native_dropout", "native_dropout_backward", "native_group_norm", "native_group_norm_backward",
    "native_layer_norm", "native_layer_norm_backward", "ne", "neg", "nll_loss2d_backward",
    "nll_loss2d_forward", "nll_loss_backward", "nll_loss_forward", "nonzero", "norm", "normal",
    "one_hot", "ones", "ones_like", "pdist", "polar", "pow", "prod", "put", "quantize_per_channel",
    "quantize_per_tensor", "random", "randperm", "range", "reciprocal", "reflection_pad1d",
    "reflection_pad1d_backward", "reflection_pad2d", "reflection_pad2d_backward",
    "reflection_pad3d", "reflection_pad3d_backward", "relu", "remainder", "renorm", "repeat",
    "repeat_interleave", "replication_pad1d", "replication_pad1d_backward", "replication_pad2d",
    "replication_pad2d_backward", "replication_pad3d", "replication_pad3d_backward", "roll",
    "round", "rrelu_with_noise", "rsqrt", "rsub", "scaled_dot_product_attention", "scatter",
    "scatter_add", "scatter_reduce", "searchsorted", "sgn", "sigmoid", "sigmoid_backward", "sign",
    "signbit", "silu", "silu_backward", "sin", "sinc", "sinh", "slogdet", "slow_conv_dilated2d",
    "slow_conv_transpose2d", "smooth_l1_loss", "smooth_l1_loss_backward", "soft_margin_loss",
    "soft_margin_loss_backward", "softmax", "softplus", "softplus_backward", "softshrink",
    "softshrink_backward", "sort", "split_with_sizes_copy", "sqrt", "stack", "std", "std_mean",
    "stft", "sub", "sum", "take", "tan", "tanh", "tanh_backward", "threshold", "threshold_backward",
    "topk", "trace", "triangular_solve", "tril", "triu", "trunc", "unfold_backward", "uniform",
    "unique_consecutive", "unique_dim", "upsample_bicubic2d", "upsample_bicubic2d_backward",
    "upsample_bilinear2d", "upsample_bilinear2d_backward", "upsample_linear1d",
    "upsample_linear1d_backward", "upsample_nearest1d", "upsample_nearest1d_backward",
    "upsample_nearest2d", "upsample_nearest2d_backward", "upsample_nearest3d",
    "upsample_nearest3d_backward", "upsample_trilinear3d", "upsample_trilinear3d_backward", "var",
    "var_mean", "vdot", "view_as_complex", "view_as_real", "where", "xlogy", "zero", "zeros",
};
// clang-format on
static_assert(std::ranges::is_sorted(kCardOperators));

}  // namespace

bool is_card_operator(std::string_view base) {
  return std::ranges::binary_search(kCardOperators, base);
}

}  // namespace npu_sim::aten
