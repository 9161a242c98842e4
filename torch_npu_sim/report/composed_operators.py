"""Operators that stay on the card although no kernel bears their name.

The names are those of csrc/aten/describe/composed_operators.cpp; a test compares the two.
"""

__all__ = ["COMPOSED_OPERATORS"]

COMPOSED_OPERATORS = frozenset(
    """
    __and__ __iand__ __ixor__ __or__ __xor__ _assert_async _batch_norm_no_update
    _batch_norm_with_update _batch_norm_with_update_functional _cat _conj_physical _copy_from
    _embedding_bag_backward _embedding_bag_dense_backward _euclidean_dist _foreach_clone
    _foreach_max _foreach_mm _foreach_powsum _foreach_rsqrt _functional_assert_async
    _fused_adagrad _fused_adam _fused_dropout _fused_rms_norm _fused_rms_norm_backward
    _grouped_mm _is_all_true _is_any_true _linalg_slogdet _local_scalar_dense
    _masked_softmax_backward _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _new_zeros_with_same_feature_meta _safe_softmax
    _scaled_dot_product_attention_math _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention_for_cpu_backward
    _scaled_dot_product_fused_attention_overrideable
    _scaled_dot_product_fused_attention_overrideable_backward _stack _to_copy _trilinear
    _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate
    _weight_norm_interface _weight_norm_interface_backward adaptive_avg_pool1d allclose
    as_strided_scatter avg_pool1d bartlett_window batch_norm_backward batch_norm_update_stats
    blackman_window block_diag cholesky clone conj_physical contiguous conv_depthwise3d copy
    cummax cummin deg2rad diag_embed diagonal_backward diagonal_scatter dist einsum
    fft_fftfreq fft_rfftfreq flatten float_power full full_like hamming_window hann_window
    isinf isnan kaiser_window layer_norm ldexp linalg__powsum linalg_cholesky_ex linalg_inv_ex
    linear linear_backward log_softmax masked_fill masked_scatter_backward max_pool2d_backward
    mkldnn_convolution msort narrow_copy native_channel_shuffle native_norm new_full new_ones
    new_zeros nonzero_static ones_like pixel_shuffle pixel_unshuffle rad2deg rand rand_like
    randint randint_like randn randn_like reshape resolve_conj resolve_neg rms_norm rot90
    rrelu_with_noise_backward rrelu_with_noise_functional scalar_tensor select_backward
    select_scatter slice_backward slice_scatter slow_conv3d_forward slow_conv_dilated3d
    slow_conv_transpose3d split_copy split_with_sizes_copy square to true_divide type_as
    unbind_copy unfold_copy unique_dim_consecutive zeros_like
    """.split()
)
