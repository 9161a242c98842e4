"""Fixtures of the room: threads that meet, counts that must come back."""

import gc
from collections.abc import Iterator

import pytest
import torch

from torch_npu_sim import _C


def counts() -> tuple[int, ...]:
    """Returns blocks and bytes in use, and bytes asked for, on the first two cards."""
    torch.npu.init()
    found = []
    for device in (0, 1):
        stats = torch.npu.memory_stats(device)
        found += [stats[f"{name}.all.current"] for name in ("allocation", "allocated_bytes")]
        found += [stats["active_bytes.all.current"], stats["requested_bytes.all.current"]]
    return tuple(found)


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Fails when the test leaves other counts than it found, or CPU allocations on a card."""
    gc.collect()
    before = counts()
    yield
    gc.collect()
    assert counts() == before
    on_the_host = torch.empty(1 << 10)
    assert counts() == before and on_the_host.device.type == "cpu"
    assert _C.live_blocks() == before[0] + before[4] + sum(
        torch.npu.memory_stats(device)["allocation.all.current"]
        for device in range(2, torch.npu.device_count())
    )
