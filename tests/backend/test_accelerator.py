"""torch.accelerator on npu: every function of the module."""

import pytest
import torch

# Graphs come later; the deprecated names warn and are tested with their successors.
TESTED_ELSEWHERE = {"Graph", "current_device_idx", "set_device_idx"}
QUERIES = {
    "current_accelerator": torch.device("npu"),
    "device_count": 8,
    "is_available": True,
    "current_device_index": 0,
}


@pytest.fixture(autouse=True)
def device_zero():
    """Starts and ends on device 0 with its default stream."""
    torch.npu.set_device(0)
    torch.npu.set_stream(torch.npu.default_stream())
    yield
    torch.npu.set_stream(torch.npu.default_stream())
    torch.npu.set_device(0)


@pytest.mark.parametrize("name", QUERIES)
def test_queries_tell_of_npu(name):
    assert getattr(torch.accelerator, name)() == QUERIES[name]


def test_set_device_index_is_torch_npu_s():
    torch.accelerator.set_device_index(3)
    assert torch.npu.current_device() == torch.accelerator.current_device_index() == 3


def test_the_deprecated_names_do_the_same():
    with pytest.warns(FutureWarning):
        torch.accelerator.set_device_idx(2)
    with pytest.warns(FutureWarning):
        assert torch.accelerator.current_device_idx() == 2


def test_device_index_is_a_context():
    with torch.accelerator.device_index(2):
        assert torch.npu.current_device() == 2
    assert torch.npu.current_device() == 0


def test_device_index_of_none_changes_nothing():
    with torch.accelerator.device_index(None):
        assert torch.npu.current_device() == 0


def test_a_set_stream_is_current_for_both_modules():
    stream = torch.Stream(device="npu:1")
    torch.accelerator.set_stream(stream)
    assert torch.accelerator.current_stream() == torch.npu.current_stream() == stream
    assert torch.npu.current_device() == 1


def test_synchronize_ends_the_work_of_the_device_it_names():
    x = torch.ones(4096, 4096, device="npu:1")
    x @ x
    stream = torch.accelerator.current_stream("npu:1")
    assert not stream.query()
    torch.accelerator.synchronize(1)
    assert stream.query()


def test_capability_lists_the_types_of_the_device():
    assert torch.bfloat16 in torch.accelerator.get_device_capability()["supported_dtypes"]


def test_memory_functions_agree_with_torch_npu():
    x = torch.empty(1 << 22, device="npu:1")
    for name in (
        "memory_allocated",
        "max_memory_allocated",
        "memory_reserved",
        "max_memory_reserved",
    ):
        assert getattr(torch.accelerator, name)(1) == getattr(torch.npu, name)(1) >= x.nbytes
    assert torch.accelerator.get_memory_info(1) == torch.npu.mem_get_info(1)


def test_memory_stats_have_the_keys_of_torch_npu():
    torch.empty(1, device="npu")
    ours, torch_s = torch.npu.memory_stats(), torch.accelerator.memory_stats()
    assert {key: value for key, value in torch_s.items() if key in ours} == {
        key: value for key, value in ours.items() if key in torch_s
    }
    assert "allocated_bytes.all.peak" in torch_s


def test_peaks_reset_to_what_is_allocated():
    torch.empty(1 << 24, device="npu:2")
    torch.accelerator.reset_peak_memory_stats(2)
    assert torch.accelerator.max_memory_allocated(2) == torch.accelerator.memory_allocated(2)


def test_accumulated_statistics_reset_to_zero():
    torch.empty(1 << 10, device="npu:2")
    torch.accelerator.reset_accumulated_memory_stats(2)
    assert torch.accelerator.memory_stats(2)["allocation.all.allocated"] == 0


def test_empty_cache_gives_reserved_memory_back():
    torch.empty(1 << 24, device="npu:2")
    torch.accelerator.empty_cache()
    assert torch.accelerator.memory_reserved(2) == 0


def test_empty_host_cache_keeps_pinned_tensors_usable():
    pinned = torch.ones(4).pin_memory()
    torch.accelerator.empty_host_cache()
    assert pinned.is_pinned() and pinned.sum() == 4


def test_every_public_function_is_tested_here():
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    missing = {
        name
        for name in set(torch.accelerator.__all__) - TESTED_ELSEWHERE
        if f"accelerator.{name}" not in text and f'"{name}"' not in text
    }
    assert missing == set()


def test_a_graph_says_that_it_is_not_supported():
    with pytest.raises(RuntimeError, match="(?i)graph.*npu"):
        torch.accelerator.Graph()
