// Sparse, quantised and recurrent operators, by the bytes that they move.
#include "aten/describe/vector_describers.h"

namespace npu_sim::aten {
namespace {

constexpr Entry kSparse[] = {
    {"_coalesce", elements<4>},
    {"_to_dense", elements<1>},
    {"to_dense", elements<1>},
    {"_to_sparse", elements<4>},
    {"_sparse_mask_projection", elements<2>},
    {"sparse_mask", elements<2>},
    {"copy_sparse_to_sparse", elements<1>},
    {"_sparse_coo_tensor_with_dims_and_tensors", elements<1>},
};

// Scale, round, clamp, narrow; the learnable forms also form the mask of what was clamped.
constexpr Entry kQuantized[] = {
    {"quantize_per_tensor", elements<4>},
    {"quantize_per_channel", elements<4>},
    {"quantize_per_tensor_dynamic", elements<6>},
    {"dequantize", elements<2>},
    {"int_repr", elements<1>},
    {"_make_per_tensor_quantized_tensor", elements<1>},
    {"_make_per_channel_quantized_tensor", elements<1>},
    {"fake_quantize_per_tensor_affine_cachemask", elements<8>},
    {"_fake_quantize_per_tensor_affine_cachemask_tensor_qparams", elements<8>},
    {"fake_quantize_per_channel_affine_cachemask", elements<8>},
    {"_fake_quantize_learnable_per_tensor_affine", elements<6>},
    {"_fake_quantize_learnable_per_channel_affine", elements<6>},
    {"_fake_quantize_learnable_per_tensor_affine_backward", elements<12>},
    {"_fake_quantize_learnable_per_channel_affine_backward", elements<12>},
    {"_fused_moving_avg_obs_fq_helper", elements<10>},
    {"quantized_batch_norm", elements<4>},
    // Four gates a cell, a sigmoid or a tanh each.
    {"_thnn_fused_lstm_cell", elements<20, 10>},
    {"_thnn_fused_lstm_cell_backward_impl", elements<30, 10>},
    {"_thnn_fused_gru_cell", elements<16, 6>},
    {"_thnn_fused_gru_cell_backward", elements<24, 6>},
};

}  // namespace

Entries sparse_entries() { return {kSparse}; }
Entries quantized_entries() { return {kQuantized}; }

}  // namespace npu_sim::aten
