"""npu_prefetch reads what it is told, and nothing comes back."""

import pytest
import torch

import torch_npu_sim

OPS = torch.ops.npu


@pytest.mark.parametrize(
    ("size", "offset", "read"), [(1000, 0, 1000), (9999, 0, 4096), (9999, 96, 4000)]
)
def test_a_prefetch_reads_no_more_than_there_is(size: int, offset: int, read: int) -> None:
    weight = torch.zeros(1024).npu()
    with torch_npu_sim.trace() as trace:
        assert OPS.npu_prefetch(weight, None, size, offset) is None
    (kernel,) = trace.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (read, 0)


@pytest.mark.parametrize(("size", "offset"), [(0, 0), (8, 4096), (8, -1)])
def test_a_prefetch_names_what_is_wrong(size: int, offset: int) -> None:
    with pytest.raises(ValueError, match="npu_prefetch: .*(max_size|offset)"):
        OPS.npu_prefetch(torch.zeros(1024).npu(), None, size, offset)
