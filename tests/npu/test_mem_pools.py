"""torch.npu: private pools of the caching allocator."""

import gc
import threading

import pytest
import torch

MIB = 1 << 20


@pytest.fixture(autouse=True)
def clean() -> None:
    """Starts each test with an empty cache."""
    gc.collect()
    torch.npu.synchronize()
    torch.npu.empty_cache()


def made_in(pool: "torch.npu.MemPool", size: int = 3 * MIB) -> torch.Tensor:
    """A tensor whose memory is the pool's."""
    with torch.npu.use_mem_pool(pool):
        return torch.empty(size, dtype=torch.uint8, device="npu")


def test_a_pool_serves_only_its_own_blocks() -> None:
    pool = torch.npu.MemPool()
    first = made_in(pool)
    address = first.data_ptr()
    del first
    assert torch.empty(3 * MIB, dtype=torch.uint8, device="npu").data_ptr() != address
    assert made_in(pool).data_ptr() == address


def test_a_snapshot_holds_the_segments_of_the_pool() -> None:
    pool = torch.npu.MemPool()
    outside = torch.empty(3 * MIB, dtype=torch.uint8, device="npu")
    inside = made_in(pool)
    (segment,) = pool.snapshot()
    assert segment["segment_pool_id"] == pool.id != (0, 0)
    assert segment["allocated_size"] == inside.nbytes
    default = torch.npu.memory_snapshot((0, 0))
    assert all(s["segment_pool_id"] == (0, 0) for s in default)
    assert len(torch.npu.memory_snapshot()) == len(default) + 1
    assert outside.nbytes == 3 * MIB


def test_the_pool_and_each_running_block_count_as_uses() -> None:
    pool = torch.npu.MemPool()
    assert pool.use_count() == 1
    with torch.npu.use_mem_pool(pool), torch.npu.use_mem_pool(pool):
        assert pool.use_count() == 3
    assert pool.use_count() == 1


def test_blocks_nest() -> None:
    outer, inner = torch.npu.MemPool(), torch.npu.MemPool()
    with torch.npu.use_mem_pool(outer):
        with torch.npu.use_mem_pool(inner):
            pass
        x = torch.empty(1, device="npu")
    assert len(outer.snapshot()) == 1
    assert inner.snapshot() == []
    del x


def test_a_block_ends_with_an_error_too() -> None:
    pool = torch.npu.MemPool()
    with pytest.raises(KeyError), torch.npu.use_mem_pool(pool):
        raise KeyError
    x = torch.empty(1, device="npu")
    assert pool.snapshot() == []
    del x


def test_emptying_the_cache_leaves_a_living_pool_alone() -> None:
    pool = torch.npu.MemPool()
    made_in(pool)
    before = torch.npu.memory_reserved()
    torch.npu.empty_cache()
    assert torch.npu.memory_reserved() == before > 0
    del pool
    assert torch.npu.memory_reserved() < before


def test_tensors_outlive_their_pool() -> None:
    pool = torch.npu.MemPool()
    x = made_in(pool)
    held = torch.npu.memory_reserved()
    del pool
    x.fill_(7)
    assert x[-1].item() == 7
    assert torch.npu.memory_reserved() == held
    del x
    assert torch.npu.memory_reserved() < held


def test_other_cards_and_threads_are_not_affected() -> None:
    pool = torch.npu.MemPool()
    made: list[torch.Tensor] = []
    with torch.npu.use_mem_pool(pool, device=0):
        made.append(torch.empty(1, device="npu:1"))
        thread = threading.Thread(target=lambda: made.append(torch.empty(1, device="npu:0")))
        thread.start()
        thread.join()
    assert len(made) == 2
    assert pool.snapshot() == []


def test_an_unsplit_pool_gives_each_allocation_a_segment() -> None:
    pool = torch.npu.MemPool(no_split=True)
    tensors = [made_in(pool, 512) for _ in range(3)]
    assert len(pool.snapshot()) == len(tensors)


def test_a_lending_pool_serves_others_before_they_fail() -> None:
    _, total = torch.npu.mem_get_info()
    most = total // 4 * 3
    for lends in (False, True):
        pool = torch.npu.MemPool(use_on_oom=lends)
        made_in(pool, most)
        if lends:
            assert torch.empty(most, dtype=torch.uint8, device="npu").nbytes == most
        else:
            with pytest.raises(torch.OutOfMemoryError):
                torch.empty(most, dtype=torch.uint8, device="npu")
        del pool


def test_results_of_operators_come_from_the_pool() -> None:
    pool = torch.npu.MemPool()
    x = torch.ones(4, device="npu")
    with torch.npu.use_mem_pool(pool):
        y = x + 1
    (segment,) = pool.snapshot()
    assert segment["allocated_size"] == 512
    assert y.tolist() == [2, 2, 2, 2]


def test_only_a_pool_can_be_used() -> None:
    with pytest.raises(TypeError, match="expected a torch.npu.MemPool, got int"):
        with torch.npu.use_mem_pool(3):
            pass
