"""Long use: no leak on the card (statistics) and none on the host (resident memory)."""

import gc
import random
import threading
import weakref

import pytest
import torch

from torch_npu_sim import _C

pytestmark = pytest.mark.usefixtures("unchanged")
ALLOCATIONS = 100_000


def resident_bytes() -> int:
    """Returns the host memory that this process has committed."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def churn(steps: int, streams: list[torch.npu.Stream]) -> None:
    """Allocates and frees blocks of random sizes on the streams in turn, 64 alive at a time."""
    held: list[torch.Tensor | None] = [None] * 64
    for step in range(steps):
        with torch.npu.stream(streams[step % len(streams)]):
            size = random.choice((0, 1, 100, 3000, 70_000, 600_000, 3_000_000))
            block = torch.empty(random.randint(0, size), dtype=torch.uint8, device="npu")
        if step % 5 == 0:
            block.record_stream(streams[(step + 1) % len(streams)])
        held[random.randrange(64)] = block


def test_a_hundred_thousand_blocks_on_four_streams_leave_nothing_on_card_or_host():
    streams = [torch.npu.default_stream(), *(torch.npu.Stream() for _ in range(3))]
    churn(ALLOCATIONS // 5, streams)
    torch.npu.synchronize()
    torch.npu.empty_cache()
    settled = resident_bytes()
    before = torch.npu.memory_stats()
    churn(ALLOCATIONS - ALLOCATIONS // 5, streams)
    torch.npu.synchronize()
    torch.npu.empty_cache()
    after = torch.npu.memory_stats()
    for name in ("allocation", "segment", "active", "inactive_split"):
        assert after[f"{name}.all.current"] == before[f"{name}.all.current"]
    for name in ("allocated_bytes", "reserved_bytes", "active_bytes", "requested_bytes"):
        assert after[f"{name}.all.current"] == before[f"{name}.all.current"]
    assert resident_bytes() - settled < 16 << 20


def test_what_statistics_count_as_allocated_and_freed_is_what_lives():
    before = torch.npu.memory_stats()  # somebody may have reset what was counted so far
    churn(2000, [torch.npu.default_stream()])
    gc.collect()
    stats = torch.npu.memory_stats()
    for name in ("allocation", "allocated_bytes", "active", "active_bytes", "requested_bytes"):
        for pool in ("all", "small_pool", "large_pool"):
            keys = {key: f"{name}.{pool}.{key}" for key in ("current", "allocated", "freed")}
            of = {key: stats[path] - before[path] for key, path in keys.items()}
            assert of["allocated"] - of["freed"] == of["current"]
    assert stats["allocation.all.current"] == sum(
        stats[f"allocation.{pool}.current"] for pool in ("small_pool", "large_pool")
    )


def test_views_clones_and_graphs_leave_nothing_on_the_host():
    def work(steps: int) -> None:
        for step in range(steps):
            x = torch.randn(16, 16, device="npu", requires_grad=True)
            y = (x[1:, ::2].t().clone() @ x.view(-1)[:30].view(15, 2)).exp()
            (y * step).sum().backward()
            torch.stack([y, y], 1).unbind(0)

    work(500)
    gc.collect()
    settled = resident_bytes()
    work(3000)
    gc.collect()
    assert resident_bytes() - settled < 8 << 20


def test_streams_events_and_generators_leave_nothing_on_the_host():
    def work(steps: int) -> None:
        x = torch.ones(4, device="npu")
        for _ in range(steps):
            stream, event = torch.npu.Stream(), torch.npu.Event(enable_timing=True)
            with torch.npu.stream(stream):
                x + 1
                event.record()
            torch.npu.current_stream().wait_event(event)
            event.query()
            torch.Generator("npu").manual_seed(1)
            torch.ones(8).pin_memory()
        torch.npu.synchronize()

    work(2000)
    settled = resident_bytes()
    work(8000)
    assert resident_bytes() - settled < 8 << 20


def test_storages_freed_by_other_threads_leave_nothing():
    shelf: list[torch.Tensor] = []
    lock = threading.Lock()

    def make() -> None:
        for size in range(2000):
            with lock:
                shelf.append(torch.empty(size, device="npu"))

    def drop() -> None:
        dropped = 0
        while dropped < 2000:
            with lock:
                item = shelf.pop() if shelf else None
            dropped += item is not None
            del item

    threads = [threading.Thread(target=work) for work in (make, drop, make, drop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not shelf


def test_a_cycle_that_holds_a_graph_is_collected():
    # One whose only way round is inside torch's graph is collected on no device.
    x = torch.ones(1000, device="npu", requires_grad=True)
    before = _C.live_blocks()
    y = x.exp()
    y.me = [y, (y * 2).sum()]
    seen = weakref.ref(y)
    del y
    gc.collect()
    assert seen() is None and _C.live_blocks() == before


def test_a_function_that_saves_its_own_result_is_freed_with_it():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            result = x * x
            ctx.save_for_backward(x, result)
            return result

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    x = torch.ones(1000, device="npu", requires_grad=True)
    before = _C.live_blocks()
    for _ in range(10):
        Square.apply(x)
    gc.collect()
    assert _C.live_blocks() == before


def test_gradients_of_gradients_leave_nothing_after_a_collection():
    x = torch.ones(100, device="npu", requires_grad=True)
    before = _C.live_blocks()
    for _ in range(20):
        y = (x**3).sum()
        (grad,) = torch.autograd.grad(y, x, create_graph=True)
        grad.sum().backward()
        x.grad = None
    del y, grad
    gc.collect()
    assert _C.live_blocks() == before
