"""Threads that share cards, streams, graphs and tensors: values, counts and time stay right."""

import itertools
import queue
import threading

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import torch_npu_sim
from torch_npu_sim import _C

pytestmark = pytest.mark.usefixtures("unchanged")


@pytest.mark.parametrize("devices", [(0, 0), (0, 1), (0, 1, 0, 1)], ids=str)
def test_kernels_of_threads_are_each_recorded_once_on_their_card(in_threads, devices):
    def work(index: int) -> None:
        x = torch.ones(8, device=f"npu:{devices[index]}")
        for _ in range(100):
            x.mul_(1.5)

    with torch_npu_sim.trace() as trace:
        in_threads(len(devices), work)
    for device in set(devices):
        products = [k for k in trace.kernels if k.op == "aten::mul_.Scalar" and k.device == device]
        products += [k for k in trace.kernels if k.op == "aten::mul_.Tensor" and k.device == device]
        assert len(products) == 100 * devices.count(device)


def test_kernels_that_threads_launch_on_one_stream_run_one_after_the_other(in_threads):
    def work(_: int) -> None:
        x = torch.ones(256, 256, device="npu")
        for _ in range(50):
            x = x @ x

    with torch_npu_sim.trace() as trace:
        in_threads(4, work)
        torch.npu.synchronize()
    products = sorted(trace.kernels, key=lambda kernel: kernel.start_us)
    assert len(products) == 4 * 51
    for first, later in itertools.pairwise(products):
        assert first.end_us <= later.start_us + 1e-6


def test_a_stream_shared_by_threads_is_done_when_each_has_synchronised(in_threads):
    stream = torch.npu.Stream()

    def work(index: int) -> None:
        for step in range(30):
            with torch.npu.stream(stream):
                x = torch.full((64, 64), float(index + step), device="npu")
                y = (x @ x).sum()
            event = stream.record_event()
            event.synchronize()
            assert event.query()
            assert y.item() == 64**3 * (index + step) ** 2

    in_threads(4, work)
    stream.synchronize()
    assert stream.query()


def test_the_current_stream_and_device_are_the_thread_s_own(in_threads):
    torch.npu.set_device(0)

    def work(index: int) -> None:
        torch.npu.set_device(index)
        stream = torch.npu.Stream()
        with torch.npu.stream(stream):
            for _ in range(50):
                assert torch.ones(1, device="npu").device.index == index
                assert torch.npu.current_stream() == stream

    in_threads(6, work)
    assert torch.npu.current_device() == 0
    assert torch.npu.current_stream() == torch.npu.default_stream()


def test_work_of_another_thread_on_another_card_does_not_delay_a_card(in_threads):
    spans: list[float] = []

    def work(index: int) -> None:
        x = torch.ones(512, 512, device=f"npu:{index}")
        start, end = (torch.npu.Event(enable_timing=True) for _ in range(2))
        with torch.npu.device(index):
            torch.npu.synchronize()
            start.record()
            product = x @ x
            end.record()
            end.synchronize()
        assert product[0, 0].item() == 512
        if index == 0:
            spans.append(start.elapsed_time(end))

    in_threads(1, work)
    in_threads(4, work)
    # The host's clock is shared, so a launch may come later, never earlier.
    assert spans[1] >= spans[0] > 0


def test_one_graph_goes_backward_in_many_threads(in_threads):
    x = torch.ones(32, device="npu", requires_grad=True)
    y = (x * x).exp().sum()

    def work(_: int) -> None:
        for _ in range(10):
            y.backward(retain_graph=True)

    in_threads(4, work)
    expected = torch.full((32,), 40 * 2 * torch.e)
    torch.testing.assert_close(x.grad.cpu(), expected)


def test_a_thread_that_only_goes_backward_gets_the_gradient(in_threads):
    leaves = [
        torch.full((16,), float(i), device=f"npu:{i % 2}", requires_grad=True) for i in range(4)
    ]
    losses = [(leaf * leaf).sum() for leaf in leaves]
    in_threads(4, lambda index: losses[index].backward())
    assert [leaf.grad[0].item() for leaf in leaves] == [0, 2, 4, 6]


def test_graphs_over_two_cards_go_backward_in_threads_at_the_same_time(in_threads):
    def work(index: int) -> None:
        for _ in range(10):
            x = torch.full((8,), float(index), device="npu:0", requires_grad=True)
            y = (x * 3).to("npu:1") * x.detach().to("npu:1")
            y.sum().backward()
            assert x.grad.tolist() == [3.0 * index] * 8

    in_threads(4, work)


def test_checkpoints_and_hooks_in_threads_give_the_gradient(in_threads):
    from torch.utils.checkpoint import checkpoint

    def work(index: int) -> None:
        seen = []
        x = torch.full((8,), 1.0 + index, device="npu", requires_grad=True)
        for _ in range(5):
            y = checkpoint(lambda t: (t * t).sin(), x, use_reentrant=False)
            y.register_hook(seen.append)
            y.sum().backward()
        expected = 5 * 2 * x.detach() * (x.detach() ** 2).cos()
        torch.testing.assert_close(x.grad, expected)
        assert len(seen) == 5

    in_threads(4, work)


def test_replicas_of_a_model_in_threads_equal_the_cpu(in_threads):
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
    data = torch.randn(4, 16, 8)
    with torch.no_grad():
        expected = model(data)
        shared = model.npu()

        def work(index: int) -> None:
            for _ in range(20):
                got = shared(data[index].npu()).cpu()
                torch.testing.assert_close(got, expected[index])

        in_threads(4, work)


def test_dropout_leaves_the_cpu_s_random_numbers_of_another_thread_alone():
    expected = torch.rand(100_000, generator=torch.Generator().manual_seed(7))
    x = torch.ones(100_000, device="npu")
    done = threading.Event()

    def drop() -> None:
        while not done.is_set():
            torch.nn.functional.dropout(x)

    thread = threading.Thread(target=drop)
    thread.start()
    torch.manual_seed(7)
    try:
        drawn = torch.cat([torch.rand(200) for _ in range(500)])
    finally:
        done.set()
        thread.join(60)
    assert torch.equal(drawn, expected)


def test_dropout_of_threads_on_cards_of_their_own_repeats_with_the_seed(in_threads):
    def draw() -> dict[int, torch.Tensor]:
        torch.npu.manual_seed_all(5)
        drawn: dict[int, torch.Tensor] = {}

        def work(index: int) -> None:
            x = torch.ones(10_000, device=f"npu:{index}")
            parts = [torch.nn.functional.dropout(x).cpu() for _ in range(50)]
            drawn[index] = torch.cat(parts)

        in_threads(3, work)
        return drawn

    first, second = draw(), draw()
    assert all(torch.equal(first[index], second[index]) for index in first)


def test_tensors_go_through_queues_from_makers_to_users():
    items: queue.Queue[torch.Tensor | None] = queue.Queue(8)
    sums: list[float] = []

    def make(start: int) -> None:
        for value in range(start, start + 50):
            items.put(torch.full((100,), float(value), device="npu"))

    def use() -> None:
        while (item := items.get()) is not None:
            sums.append(item.sum().item())

    users = [threading.Thread(target=use) for _ in range(2)]
    makers = [threading.Thread(target=make, args=(start,)) for start in (0, 50)]
    for thread in users + makers:
        thread.start()
    for thread in makers:
        thread.join(60)
    for _ in users:
        items.put(None)
    for thread in users:
        thread.join(60)
    assert sorted(sums) == [100.0 * value for value in range(100)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_pins_memory_feeds_the_card(workers):
    data = TensorDataset(torch.arange(64.0).view(32, 2))
    loader = DataLoader(data, batch_size=4, pin_memory=True, num_workers=workers)
    total = torch.zeros((), device="npu")
    for _ in range(2):
        for (batch,) in loader:
            assert batch.is_pinned()
            total += batch.to("npu", non_blocking=True).sum()
    assert total.item() == 2 * sum(range(64))


def test_host_and_card_clocks_stand_still_while_nothing_is_called(in_threads):
    before = _C.host_now_ps()
    in_threads(3, lambda _: sum(range(10000)) and None)
    assert _C.host_now_ps() == before
