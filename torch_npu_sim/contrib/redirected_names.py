"""What transfer_to_npu redirects: the lists of torch_npu (contrib/transfer_to_npu.py there)."""

__all__ = [
    "CUDA_FUNCTIONS",
    "CUDA_MODULES",
    "MODULE_METHODS",
    "TENSOR_METHODS",
    "TORCH_FUNCTIONS",
]

TORCH_FUNCTIONS = (
    *("arange", "as_tensor", "bartlett_window", "blackman_window", "empty", "empty_like"),
    *("empty_quantized", "empty_strided", "eye", "from_file", "frombuffer", "full", "full_like"),
    *("get_device_module", "hamming_window", "hann_window", "kaiser_window", "linspace", "load"),
    *("logspace", "normal", "ones", "ones_like", "rand", "rand_like", "randint", "randint_like"),
    *("randn", "randn_like", "randperm", "range", "scalar_tensor", "set_default_device"),
    *("sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csr_tensor", "tensor"),
    *("tril_indices", "triu_indices", "zeros", "zeros_like", "_pin_memory"),
    *("_empty_affine_quantized", "_empty_per_channel_affine_quantized"),
    *("_sparse_coo_tensor_unsafe", "_sparse_csr_tensor_unsafe"),
)
TENSOR_METHODS = (
    *("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros"),
    *("to", "pin_memory"),
)
MODULE_METHODS = ("to", "to_empty")
CUDA_FUNCTIONS = (
    *("caching_allocator_alloc", "can_device_access_peer", "current_stream", "default_stream"),
    *("get_device_capability", "get_device_name", "get_device_properties", "max_memory_allocated"),
    *("max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved"),
    *("memory_stats", "memory_summary", "reset_max_memory_allocated", "reset_max_memory_cached"),
    *("reset_peak_memory_stats", "set_device", "set_per_process_memory_fraction"),
    *("synchronize", "utilization"),
)
# Modules below torch.cuda whose public names become those of the modules below torch.npu.
CUDA_MODULES = ("amp", "amp.autocast_mode", "amp.grad_scaler", "memory", "random", "streams")
