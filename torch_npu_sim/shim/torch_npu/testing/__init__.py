"""torch_npu.testing: what tests of operators for torch_npu import."""
