"""Threads: values, counts and gradients are right whatever runs beside them."""

import gc

import pytest
import torch


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("devices", [1, 2])
def test_forward_and_backward_equal_the_cpu_s_in_every_thread(count, devices, in_threads):
    def work(index: int) -> None:
        start = torch.randn(16, 16, generator=torch.Generator().manual_seed(index))
        grads = []
        for device in ("cpu", f"npu:{index % devices}"):
            x = start.detach().to(device).requires_grad_()
            for _ in range(30):
                (x @ x).softmax(-1).square().sum().backward()
            grads.append(x.grad.cpu())
        assert torch.equal(*grads)

    in_threads(count, work)


def test_memory_counts_are_exact_after_threads(in_threads):
    gc.collect()
    before = torch.npu.memory_allocated()

    def work(index: int) -> None:
        held = []
        for step in range(300):
            held.append(torch.empty(1 + 1000 * ((index + step) % 7), device="npu"))
            if step % 3 == 0:
                held.pop(step % len(held))

    in_threads(8, work)
    gc.collect()
    assert torch.npu.memory_allocated() == before


def test_tensors_freed_in_another_thread_are_freed(in_threads):
    before = torch.npu.memory_allocated()
    shelf = [torch.ones(1000, device="npu") for _ in range(64)]
    in_threads(4, lambda _: [shelf.pop() for _ in range(16)] and None)
    assert torch.npu.memory_allocated() == before


def test_peaks_with_threads_are_between_what_lives_and_all_together(in_threads):
    torch.npu.reset_peak_memory_stats()
    before = torch.npu.memory_allocated()

    def work(_: int) -> None:
        x = torch.ones(1 << 20, device="npu")
        for _ in range(10):
            torch.softmax(x.view(1024, 1024), 0)

    in_threads(4, work)
    peak = torch.npu.max_memory_allocated() - before
    assert 2 * (4 << 20) <= peak
    assert torch.npu.memory_allocated() == before


def test_threads_with_streams_of_their_own_get_right_values(in_threads):
    x = torch.randn(64, 64, device="npu")
    expected = (x @ x).cpu()

    def work(_: int) -> None:
        with torch.npu.stream(torch.npu.Stream()):
            for _ in range(50):
                assert torch.equal((x @ x).cpu(), expected)

    in_threads(4, work)


def test_simulated_time_never_runs_backwards_in_a_thread(in_threads):
    from torch_npu_sim import _C

    def work(_: int) -> None:
        last = _C.host_now_ps()
        for _ in range(200):
            torch.ones(4, device="npu").add_(1)
            now = _C.host_now_ps()
            assert now > last
            last = now

    in_threads(4, work)


def test_seeded_generators_of_threads_do_not_mix(in_threads):
    expected = [torch.randn(32, generator=torch.Generator().manual_seed(i)) for i in range(4)]

    def work(index: int) -> None:
        for _ in range(20):
            generator = torch.Generator("npu").manual_seed(index)
            drawn = torch.randn(32, device="npu", generator=generator)
            assert torch.equal(drawn.cpu(), expected[index])

    in_threads(4, work)
