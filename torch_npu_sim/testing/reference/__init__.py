"""The fused operators of torch_npu as plain torch formulas on CPU tensors, a module a family.

Written apart from the kernels and for reading, not for speed; tests compare the kernels with them.
"""
