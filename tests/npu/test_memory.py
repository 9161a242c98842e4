"""torch.npu: memory of the simulated card."""

import pickle

import pytest
import torch
from torch.cuda import _memory_viz

MIB = 1 << 20


@pytest.fixture(autouse=True)
def clean():
    """Starts each test with an empty cache and fresh peaks."""
    torch.npu.synchronize()
    torch.npu.empty_cache()
    torch.npu.reset_peak_memory_stats()
    torch.npu.reset_accumulated_memory_stats()
    yield
    torch.npu.memory._record_memory_history(None)


def test_allocations_are_rounded_to_512_bytes():
    before = torch.npu.memory_allocated()
    x = torch.empty(1, dtype=torch.uint8, device="npu")
    assert torch.npu.memory_allocated() - before == 512
    del x
    assert torch.npu.memory_allocated() == before


def test_requested_bytes_are_not_rounded():
    before = torch.npu.memory_stats().get("requested_bytes.all.current", 0)
    x = torch.empty(513, dtype=torch.uint8, device="npu")
    assert torch.npu.memory_stats()["requested_bytes.all.current"] - before == 513
    del x


def test_freed_memory_stays_reserved_until_the_cache_is_emptied():
    x = torch.empty(32 * MIB, dtype=torch.uint8, device="npu")
    del x
    assert torch.npu.memory_reserved() >= 32 * MIB
    torch.npu.empty_cache()
    assert torch.npu.memory_reserved() < 32 * MIB


def test_the_peak_is_kept_until_reset():
    x = torch.empty(32 * MIB, dtype=torch.uint8, device="npu")
    peak = torch.npu.memory_allocated()
    del x
    assert torch.npu.max_memory_allocated() == peak
    torch.npu.reset_peak_memory_stats()
    assert torch.npu.max_memory_allocated() == torch.npu.memory_allocated()


def test_devices_are_counted_apart():
    before = torch.npu.memory_allocated(1)
    x = torch.empty(MIB, device="npu:1")
    assert torch.npu.memory_allocated("npu:1") - before == 4 * MIB
    assert torch.npu.memory_allocated(0) == torch.npu.memory_allocated()
    del x


def test_flat_statistics_have_torch_s_keys_in_order():
    stats = torch.npu.memory_stats()
    assert list(stats) == sorted(stats)
    for quantity in (
        "allocation", "segment", "active", "inactive_split", "allocated_bytes", "reserved_bytes",
        "active_bytes", "inactive_split_bytes", "requested_bytes",
    ):  # fmt: skip
        for pool in ("all", "small_pool", "large_pool"):
            for metric in ("current", "peak", "allocated", "freed"):
                assert f"{quantity}.{pool}.{metric}" in stats
    for key in ("num_alloc_retries", "num_ooms", "num_device_alloc", "oversize_segments.peak"):
        assert key in stats


def test_pools_add_up_to_all():
    x = [torch.empty(size, device="npu") for size in (1, 1000, MIB, 5 * MIB)]
    stats = torch.npu.memory_stats()
    for quantity in ("allocated_bytes", "allocation", "reserved_bytes", "segment"):
        parts = (stats[f"{quantity}.{pool}.current"] for pool in ("small_pool", "large_pool"))
        assert sum(parts) == stats[f"{quantity}.all.current"]
    del x


def test_nested_statistics_are_the_flat_ones():
    nested = torch.npu.memory_stats_as_nested_dict()
    flat = torch.npu.memory_stats()
    assert nested["allocated_bytes"]["all"]["peak"] == flat["allocated_bytes.all.peak"]


def test_torch_accelerator_reports_the_same_bytes():
    x = torch.empty(MIB, device="npu")
    assert torch.accelerator.memory_allocated() == torch.npu.memory_allocated()
    assert torch.accelerator.memory_reserved() == torch.npu.memory_reserved()
    del x


def test_the_total_is_the_chip_s_memory_and_free_shrinks_by_what_is_reserved():
    free, total = torch.npu.mem_get_info()
    assert total == torch.npu.get_device_properties().total_memory
    x = torch.empty(64 * MIB, dtype=torch.uint8, device="npu")
    assert free - torch.npu.mem_get_info()[0] == 64 * MIB
    del x


def test_a_full_card_raises_out_of_memory_with_torch_npu_s_fields():
    _, total = torch.npu.mem_get_info()
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(total + 1, dtype=torch.uint8, device="npu")
    text = str(caught.value)
    assert text.startswith("NPU out of memory. Tried to allocate")
    for field in ("NPU 0", "total capacity", "already allocated", "current active", "free"):
        assert field in text
    assert torch.npu.memory_stats()["num_ooms"] == 1


def test_a_fraction_limits_the_process():
    _, total = torch.npu.mem_get_info()
    torch.npu.set_per_process_memory_fraction(0.5)
    try:
        assert torch.npu.get_per_process_memory_fraction() == 0.5
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(int(total * 0.6), dtype=torch.uint8, device="npu")
    finally:
        torch.npu.set_per_process_memory_fraction(1.0)
    x = torch.empty(int(total * 0.6), dtype=torch.uint8, device="npu")
    del x


def test_a_fraction_must_be_a_float_from_0_to_1():
    with pytest.raises(TypeError, match="fraction"):
        torch.npu.set_per_process_memory_fraction(1)
    with pytest.raises(ValueError, match=r"1\.5"):
        torch.npu.set_per_process_memory_fraction(1.5)


def test_raw_blocks_are_counted_and_given_back():
    before = torch.npu.memory_allocated()
    address = torch.npu.caching_allocator_alloc(1000)
    assert torch.npu.memory_allocated() - before == 1024
    torch.npu.caching_allocator_delete(address)
    assert torch.npu.memory_allocated() == before


def test_deleting_an_unknown_address_is_a_value_error():
    with pytest.raises(ValueError, match="12345"):
        torch.npu.caching_allocator_delete(12345)


def test_a_raw_block_needs_a_stream():
    with pytest.raises(TypeError, match="stream"):
        torch.npu.caching_allocator_alloc(1, stream="default")


def test_the_summary_lists_every_quantity_in_equal_lines():
    x = torch.empty(64 * MIB, dtype=torch.uint8, device="npu")
    lines = torch.npu.memory_summary().splitlines()
    assert {len(line) for line in lines} == {77}
    (row,) = (line for line in lines if "Allocated memory" in line)
    assert f"{torch.npu.memory_allocated() // MIB} MiB" in row
    assert len(torch.npu.memory_summary(abbreviated=True).splitlines()) < len(lines)
    del x


def test_the_snapshot_accounts_for_what_is_allocated():
    x = torch.empty(3 * MIB, dtype=torch.uint8, device="npu")
    segments = [s for s in torch.npu.memory_snapshot() if s["device"] == 0]
    states = [(b["state"], b["size"]) for s in segments for b in s["blocks"]]
    live = sum(size for state, size in states if state == "active_allocated")
    assert live == torch.npu.memory_allocated()
    assert sum(s["total_size"] for s in segments) == torch.npu.memory_reserved()
    for segment in segments:
        assert sum(b["size"] for b in segment["blocks"]) == segment["total_size"]
    del x


def test_history_pairs_an_allocation_with_its_release():
    torch.npu.memory._record_memory_history()
    x = torch.empty(MIB, device="npu")
    del x
    trace = torch.npu.memory._snapshot()["device_traces"][0]
    block_actions = ("alloc", "free_requested", "free_completed")
    events = [(e["action"], e["size"]) for e in trace if e["action"] in block_actions]
    assert events == [
        ("alloc", 4 * MIB),
        ("free_requested", 4 * MIB),
        ("free_completed", 4 * MIB),
    ]


def test_history_stops_when_it_is_switched_off():
    torch.npu.memory._record_memory_history()
    torch.npu.memory._record_memory_history(None)
    x = torch.empty(MIB, device="npu")
    assert torch.npu.memory._snapshot()["device_traces"][0] == []
    del x


def test_a_wrong_history_mode_is_a_value_error():
    with pytest.raises(ValueError, match="sometimes"):
        torch.npu.memory._record_memory_history("sometimes")


def test_memory_viz_reads_a_dumped_snapshot(tmp_path):
    torch.npu.memory._record_memory_history()
    x = [torch.empty(MIB, device="npu") for _ in range(3)]
    del x[1]
    path = tmp_path / "snapshot.pickle"
    torch.npu.memory._dump_snapshot(str(path))
    snapshot = pickle.loads(path.read_bytes())
    reserved_mib = torch.npu.memory_reserved() / MIB
    assert f"total_reserved: {reserved_mib:.1f}MiB" in _memory_viz.segsum(snapshot)
    events = _memory_viz.trace(snapshot).splitlines()
    assert [line[:3] for line in events if line.endswith("4.0MiB]")] == ["b =", "c =", "d ="]
    assert "del c # 4.0MiB" in events
    for plot in (_memory_viz.trace_plot, _memory_viz.segment_plot):
        assert "<!DOCTYPE html>" in plot(snapshot)
    del x


def test_memory_viz_plots_a_profile_of_memory():
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.PrivateUse1]
    options = {"profile_memory": True, "record_shapes": True, "with_stack": True}
    with torch.profiler.profile(activities=activities, **options) as profiler:
        x = torch.empty(MIB, device="npu") + 1
    assert "<!DOCTYPE html>" in _memory_viz.profile_plot(profiler)
    del x


def test_pinned_memory_is_counted():
    torch.npu.init()
    before = torch.npu.host_memory_stats()["allocated_bytes.current"]
    x = torch.empty(1000, dtype=torch.uint8, pin_memory=True)
    assert torch.npu.host_memory_stats()["allocated_bytes.current"] - before >= 1000
    del x
    assert torch.npu.host_memory_stats()["allocated_bytes.current"] == before


def test_data_pointers_of_views_differ_by_their_offset():
    x = torch.empty(100, device="npu")
    assert x[10:].data_ptr() - x.data_ptr() == 40
