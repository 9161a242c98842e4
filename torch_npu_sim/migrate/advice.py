"""What to do about names of CUDA's world that transfer_to_npu leaves as they are."""

__all__ = [
    "CUDA_ADVICE",
    "EXTENSION_BUILDERS",
    "LIBRARIES",
    "NAMES",
    "TAKES_NO_CUDA",
    "VARIABLES",
    "WITHOUT_EFFECT",
]

# torch.cuda.<name>
CUDA_ADVICE = {
    "nvtx": "use torch_npu.npu.mstx: mark, range_start, range_end, range_push, range_pop",
    "cudart": "the CUDA runtime is not there; torch.npu has no counterpart",
    "nccl": "use torch.distributed with the backend hccl",
    "comm": "use torch.distributed: torch.cuda.comm copies between GPUs in one process",
    "jiterator": "compiles CUDA source; write it with torch operators",
    "get_arch_list": "names GPU architectures; ask torch_npu.npu.get_device_name",
    "get_gencode_flags": "names GPU architectures; ask torch_npu.npu.get_device_name",
    "list_gpu_processes": "use torch_npu.npu.list_npu_processes",
    "tunable": "tunes GPU libraries; there is nothing to tune",
    "temperature": "no counterpart in torch.npu",
    "power_draw": "no counterpart in torch.npu",
    "clock_rate": "no counterpart in torch.npu",
    "CUDAPluggableAllocator": "use torch_npu.npu.NPUPluggableAllocator",
}

# Full names, or their beginnings: accepted, and without effect on an NPU.
WITHOUT_EFFECT = {
    "torch.backends.cudnn": "accepted, without effect: an NPU has no cuDNN",
    "torch.backends.cuda": (
        "accepted, without effect; for fp32 products see torch_npu.npu.matmul.allow_hf32"
    ),
}

# Full names, or their beginnings: they go another way.
NAMES = {
    "torch.version.cuda": "is None; ask torch.npu.is_available() instead",
    "torch.jit.script": "returns its argument uncompiled; torch.compile works",
    "torch.jit.script_method": "returns its argument uncompiled; torch.compile works",
    "torch.profiler._ExperimentalConfig": "left out; use torch_npu.profiler._ExperimentalConfig",
    "torch.utils.dlpack": "only tensors of the host can go through it",
    "torch.autograd.profiler.emit_nvtx": "use torch_npu.npu.mstx",
}

# Functions that take a device and are none of those that transfer_to_npu redirects.
TAKES_NO_CUDA = {
    "torch.asarray",
    "torch.empty_permuted",
    "torch.nested.as_nested_tensor",
    "torch.nested.nested_tensor",
    "torch.sparse_bsc_tensor",
    "torch.sparse_bsr_tensor",
    "torch.sparse_csc_tensor",
}

# Words of the environment, as whole strings.
VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "use ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING": "use ASCEND_LAUNCH_BLOCKING",
    "CUDA_DEVICE_MAX_CONNECTIONS": "without effect on an NPU",
    "CUBLAS_WORKSPACE_CONFIG": "without effect on an NPU",
    "CUDA_HOME": "there is no CUDA toolkit; CANN's is ASCEND_HOME_PATH",
    "NCCL_DEBUG": "use HCCL's logs: ASCEND_GLOBAL_LOG_LEVEL",
    "NCCL_BLOCKING_WAIT": "use TORCH_HCCL_BLOCKING_WAIT",
    "NCCL_ASYNC_ERROR_HANDLING": "use TORCH_HCCL_ASYNC_ERROR_HANDLING",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "use TORCH_HCCL_ASYNC_ERROR_HANDLING",
    "TORCH_NCCL_BLOCKING_WAIT": "use TORCH_HCCL_BLOCKING_WAIT",
    "NCCL_ALGO": "use HCCL_ALGO",
    "NCCL_BUFFSIZE": "use HCCL_BUFFSIZE",
    "PYTORCH_CUDA_ALLOC_CONF": "use PYTORCH_NPU_ALLOC_CONF",
    "nvidia-smi": "use npu-smi info",
}

# Packages of CUDA kernels, by their first name or their beginning.
LIBRARIES = {
    "apex": "torch_npu.optim has fused optimizers, torch_npu.npu.amp mixed precision",
    "bitsandbytes": "torch_npu.npu_dynamic_quant and npu_quant_matmul quantise; see vllm-ascend",
    "causal_conv1d": "torch_npu.npu_fused_causal_conv1d",
    "cupy": "use torch on npu",
    "cudf": "no counterpart",
    "deep_ep": "torch_npu.npu_moe_distribute_dispatch_v2 and npu_moe_distribute_combine_v2",
    "deep_gemm": "torch_npu.npu_grouped_matmul and npu_quant_matmul",
    "flash_attn": "torch_npu.npu_fusion_attention, or F.scaled_dot_product_attention",
    "flash_mla": "torch_npu.npu_fused_infer_attention_score_v2",
    "flashinfer": "torch_npu.npu_fused_infer_attention_score_v2",
    "mamba_ssm": "no counterpart as a whole; torch_npu has npu_fused_causal_conv1d",
    "numba.cuda": "write it with torch operators",
    "nvidia": "no counterpart",
    "pycuda": "write it with torch operators",
    "pynvml": "use torch_npu.npu.utilization, mem_get_info and get_device_properties",
    "tensorrt": "torch.compile, or CANN's offline tools",
    "torch_tensorrt": "torch.compile, or CANN's offline tools",
    "transformer_engine": "torch_npu.npu_dynamic_mx_quant and npu_quant_matmul; see MindSpeed",
    "triton": "triton-ascend compiles it for the card; the simulator does not run it",
    "xformers": "torch_npu.npu_fusion_attention",
}

# What builds or loads CUDA sources.
EXTENSION_BUILDERS = {
    "torch.utils.cpp_extension.CUDAExtension": "builds CUDA sources",
    "torch.utils.cpp_extension.load": "compiles an extension; CUDA sources among it will not do",
    "torch.utils.cpp_extension.load_inline": (
        "compiles an extension; CUDA sources among it will not do"
    ),
}
