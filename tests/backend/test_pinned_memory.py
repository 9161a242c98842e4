"""Pinned host memory: what is pinned, asynchronous copies, data loaders."""

import gc

import pytest
import torch

from torch_npu_sim import _C

BYTES = 64 << 20


def test_pin_memory_makes_a_pinned_copy_with_the_values():
    x = torch.arange(5.0)
    pinned = x.pin_memory()
    assert pinned.is_pinned() and not x.is_pinned()
    assert torch.equal(pinned, x)


def test_pinning_what_is_pinned_returns_it():
    pinned = torch.ones(3).pin_memory()
    assert pinned.pin_memory().data_ptr() == pinned.data_ptr()


@pytest.mark.parametrize("view", [lambda x: x[1:], lambda x: x[-1:], lambda x: x.view(2, 2)])
def test_views_of_pinned_memory_are_pinned(view):
    assert view(torch.ones(4, pin_memory=True)).is_pinned()


def test_memory_beside_a_pinned_tensor_is_not_pinned():
    assert not torch.ones(4).is_pinned()
    assert not torch.ones(4, device="npu").is_pinned()


def test_factories_take_pin_memory():
    for make in (torch.empty, torch.zeros, torch.ones, torch.randn):
        assert make(3, pin_memory=True).is_pinned()


def test_a_device_tensor_cannot_be_pinned():
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        torch.ones(2, device="npu").pin_memory()


def test_storages_pin():
    storage = torch.ones(4).untyped_storage()
    assert not storage.is_pinned()
    assert storage.pin_memory().is_pinned()


def host_time_of(copy) -> tuple[int, int]:
    """Returns the host's picoseconds in `copy` and those until the device is done."""
    torch.npu.synchronize()
    start = _C.host_now_ps()
    copy()
    issued = _C.host_now_ps()
    torch.npu.synchronize()
    return issued - start, _C.host_now_ps() - issued


@pytest.mark.parametrize("to_device", [True, False], ids=["upload", "download"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "pageable"])
@pytest.mark.parametrize("non_blocking", [True, False], ids=["asked", "not asked"])
def test_a_copy_is_asynchronous_only_if_pinned_and_asked_for(to_device, pinned, non_blocking):
    host = torch.ones(BYTES, dtype=torch.uint8, pin_memory=pinned)
    card = torch.ones(BYTES, dtype=torch.uint8, device="npu")
    target, source = (card, host) if to_device else (host, card)
    in_call, after = host_time_of(lambda: target.copy_(source, non_blocking=non_blocking))
    if pinned and non_blocking:
        assert after > 20 * in_call
    else:
        assert in_call > 20 * after


def test_an_asynchronous_copy_overlaps_a_kernel_of_another_stream():
    # A copy that takes about as long as the product.
    host = torch.ones(BYTES // 2, dtype=torch.uint8, pin_memory=True)
    card = torch.empty(BYTES // 2, dtype=torch.uint8, device="npu")
    x = torch.ones(4096, 4096, device="npu")

    def both(stream: torch.Stream) -> None:
        x @ x
        with torch.npu.stream(stream):
            card.copy_(host, non_blocking=True)

    apart = sum(host_time_of(lambda: both(torch.npu.Stream())))
    in_line = sum(host_time_of(lambda: both(torch.npu.default_stream())))
    assert apart < 0.75 * in_line


def test_values_of_asynchronous_copies_are_right():
    host = torch.randn(1000).pin_memory()
    back = torch.empty(1000, pin_memory=True)
    back.copy_(host.to("npu", non_blocking=True) * 2, non_blocking=True)
    torch.npu.synchronize()
    assert torch.equal(back, host * 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_pins_its_batches(workers):
    data = torch.utils.data.TensorDataset(torch.arange(32.0), torch.arange(32))
    loader = torch.utils.data.DataLoader(data, 8, pin_memory=True, num_workers=workers)
    total = torch.zeros((), device="npu")
    for values, labels in loader:
        assert values.is_pinned() and labels.is_pinned()
        total += values.npu(non_blocking=True).sum()
    assert total.item() == 31 * 16


def test_statistics_count_blocks_and_bytes():
    gc.collect()
    torch.npu.reset_peak_host_memory_stats()
    before = torch.npu.host_memory_stats()
    pinned = torch.empty(1000, dtype=torch.uint8, pin_memory=True)
    during = torch.npu.host_memory_stats()
    del pinned
    after = torch.npu.host_memory_stats()
    for key, step in (("active_bytes", 1000), ("active_requests", 1), ("allocations", 1)):
        assert during[f"{key}.current"] == before[f"{key}.current"] + step
        assert during[f"{key}.peak"] == before[f"{key}.peak"] + step
        assert after[f"{key}.current"] == before[f"{key}.current"]
        assert after[f"{key}.freed"] == before[f"{key}.freed"] + step
    assert during["num_host_alloc"] == before["num_host_alloc"] + 1
    assert after["num_host_free"] == before["num_host_free"] + 1
