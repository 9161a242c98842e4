"""torch.npu: devices, properties, lazy initialisation."""

import threading

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def device_zero():
    """Leaves device 0 current."""
    torch.npu.set_device(0)
    yield
    torch.npu.set_device(0)


def test_there_are_eight_devices_by_default(run_python):
    run = run_python("import torch, torch_npu_sim; print(torch.npu.device_count())")
    assert run.stdout == "8\n", run.stderr


def test_the_environment_sets_the_number_of_devices(run_python):
    code = "import torch, torch_npu_sim; print(torch.npu.device_count(), torch.npu.is_available())"
    assert run_python(code, NPU_SIM_DEVICES="3").stdout == "3 True\n"


@pytest.mark.parametrize("text", ["0", "65", "two"])
def test_a_wrong_number_of_devices_is_a_value_error_that_names_the_variable(run_python, text):
    run = run_python("import torch, torch_npu_sim; torch.npu.device_count()", NPU_SIM_DEVICES=text)
    assert run.returncode != 0
    assert "NPU_SIM_DEVICES" in run.stderr.splitlines()[-1] or "NPU_SIM_DEVICES" in run.stderr


def test_torch_accelerator_is_npu():
    assert torch.accelerator.current_accelerator() == torch.device("npu")
    assert torch.accelerator.device_count() == torch.npu.device_count()


@pytest.mark.parametrize("name", [1, "npu:1", torch.device("npu", 1)], ids=str)
def test_set_device_takes_an_index_a_string_or_a_device(name):
    torch.npu.set_device(name)
    assert torch.npu.current_device() == 1
    assert torch.empty(1, device="npu").device == torch.device("npu", 1)


def test_a_negative_index_changes_nothing():
    torch.npu.set_device(1)
    torch.npu.set_device(-1)
    assert torch.npu.current_device() == 1


@pytest.mark.parametrize(
    "call",
    [
        torch.npu.set_device,
        torch.npu.synchronize,
        torch.npu.current_stream,
        torch.npu.mem_get_info,
        torch.npu.get_rng_state,
        lambda index: torch.npu.Stream(device=index),
    ],
    ids=["set_device", "synchronize", "current_stream", "mem_get_info", "get_rng_state", "Stream"],
)
def test_a_device_that_does_not_exist_is_an_invalid_ordinal(call):
    with pytest.raises(RuntimeError, match=r"invalid device ordinal.*\[0, \d+\).*got 99"):
        call(99)


@pytest.mark.parametrize("query", ["get_device_properties", "get_device_name"])
def test_properties_of_a_device_that_does_not_exist_are_refused_as_torch_cuda_does(query):
    with pytest.raises(AssertionError, match="Invalid device id"):
        getattr(torch.npu, query)(99)


def test_a_device_of_another_type_is_a_value_error():
    with pytest.raises(ValueError, match="Expected a npu device, but got: cpu"):
        torch.npu.set_device("cpu")


def test_the_device_context_restores_the_previous_device():
    with torch.npu.device(2):
        assert torch.npu.current_device() == 2
        with torch.npu.device("npu:1"):
            assert torch.npu.current_device() == 1
        assert torch.npu.current_device() == 2
    assert torch.npu.current_device() == 0


def test_the_device_context_restores_after_an_exception():
    with pytest.raises(KeyError), torch.npu.device(1):
        raise KeyError
    assert torch.npu.current_device() == 0


def test_the_device_context_of_none_changes_nothing():
    with torch.npu.device(1), torch.npu.device(None):
        assert torch.npu.current_device() == 1


def test_device_of_follows_a_tensor_and_ignores_the_cpu():
    with torch.npu.device_of(torch.empty(1, device="npu:3")):
        assert torch.npu.current_device() == 3
    with torch.npu.device_of(torch.empty(1)):
        assert torch.npu.current_device() == 0


def test_the_current_device_is_a_thread_s_own():
    seen = []

    def look() -> None:
        seen.append(torch.npu.current_device())

    torch.npu.set_device(1)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [0]


def test_torch_accelerator_and_torch_npu_share_the_current_device():
    torch.accelerator.set_device_index(2)
    assert torch.npu.current_device() == 2


def test_properties_are_the_chip_s():
    chip = torch_npu_sim.get_chip()
    properties = torch.npu.get_device_properties("npu:1")
    assert properties.name == torch.npu.get_device_name() == chip.soc_name
    assert properties.total_memory == chip["memory_bytes"]
    assert properties.cube_core_num == chip["cube_cores"]
    assert properties.vector_core_num == chip["vector_cores"]
    assert properties.L2_cache_size == chip["l2_bytes"]


def test_devices_have_uuids_of_their_own():
    uuids = {torch.npu.get_device_properties(index).uuid for index in range(3)}
    assert len(uuids) == 3


def test_the_default_chip_has_the_soc_version_that_software_asks_for():
    assert torch.npu.get_soc_version() >= 260


def test_capability_is_none_until_the_environment_gives_it(monkeypatch):
    monkeypatch.delenv("TORCH_NPU_DEVICE_CAPABILITY", raising=False)
    assert torch.npu.get_device_capability() is None
    monkeypatch.setenv("TORCH_NPU_DEVICE_CAPABILITY", "9.5")
    assert torch.npu.get_device_capability() == (9, 5)


def test_peers_reach_each_other_but_not_themselves():
    assert torch.npu.can_device_access_peer(0, 1)
    assert not torch.npu.can_device_access_peer(1, 1)


def test_every_public_name_exists():
    missing = [name for name in torch.npu.__all__ if not hasattr(torch.npu, name)]
    assert missing == []


def test_submodules_are_not_imported_twice():
    import torch.npu.amp
    import torch.npu.memory

    assert torch.npu.amp is torch_npu_sim.npu.amp
    assert torch.npu.memory is torch_npu_sim.npu.memory


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = torch.npu.no_such_name


def test_importing_does_not_initialise(run_python):
    code = (
        "import torch, torch_npu_sim; print(torch.npu.is_initialized());"
        "torch.npu.device_count(); print(torch.npu.is_initialized());"
        "torch.zeros(1, device='npu'); print(torch.npu.is_initialized())"
    )
    assert run_python(code).stdout == "False\nFalse\nTrue\n"


def test_a_later_seed_replaces_one_queued_before_initialisation(run_python):
    code = (
        "import torch, torch_npu_sim; torch.npu.manual_seed_all(3); torch.npu.manual_seed_all(4);"
        "print(torch.npu.initial_seed())"
    )
    assert run_python(code).stdout == "4\n"


FORK = """
import os, sys, torch, torch_npu_sim
{before}
child = os.fork()
if child == 0:
    try:
        {inside}
    except RuntimeError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


def test_use_after_a_fork_of_a_used_device_is_refused(run_python):
    code = FORK.format(before="torch.zeros(1, device='npu')", inside="torch.zeros(1, device='npu')")
    assert run_python(code).stdout == (
        "Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, "
        "you must use the 'spawn' start method\n"
    )


def test_a_fork_of_an_unused_device_may_use_it(run_python):
    code = FORK.format(
        before="torch.npu.device_count()",
        inside="print(torch.ones(2, device='npu').sum().item())",
    )
    assert run_python(code).stdout == "2.0\n"


def test_what_comes_later_says_so():
    with pytest.raises(NotImplementedError, match=r"torch\.npu\.NPUGraph"):
        torch.npu.NPUGraph()
    with pytest.raises(NotImplementedError, match=r"torch\.npu\.graph_pool_handle.*eagerly"):
        torch.npu.graph_pool_handle()
    assert not torch.npu.is_current_stream_capturing()


# The groups of torch_npu's module that this package has whole, as torch_npu lists them.
NAMES = """
init is_initialized is_available device_count set_device current_device device device_of synchronize
get_device_name get_device_properties get_device_capability can_device_access_peer mem_get_info
utilization get_soc_version is_bf16_supported set_device_limit get_device_limit stop_device
restart_device check_uce_in_memory stress_detect ipc_collect current_blas_handle
Stream Event ExternalStream ExternalEvent SyncLaunchStream StreamContext stream set_stream
current_stream default_stream set_stream_limit get_stream_limit reset_stream_limit
set_sync_debug_mode get_sync_debug_mode
manual_seed manual_seed_all seed seed_all initial_seed get_rng_state get_rng_state_all set_rng_state
set_rng_state_all default_generators
caching_allocator_alloc caching_allocator_delete get_per_process_memory_fraction
set_per_process_memory_fraction empty_cache empty_virt_addr_cache host_empty_cache memory_stats
memory_stats_as_nested_dict host_memory_stats host_memory_stats_as_nested_dict
reset_peak_memory_stats reset_accumulated_memory_stats reset_peak_host_memory_stats
reset_accumulated_host_memory_stats reset_max_memory_allocated reset_max_memory_cached
memory_allocated max_memory_allocated memory_reserved max_memory_reserved memory_cached
max_memory_cached memory_snapshot memory_summary MemPool use_mem_pool get_allocator_backend
NPUPluggableAllocator change_current_allocator
get_npu_overflow_flag clear_npu_overflow_flag get_amp_supported_dtype is_autocast_enabled
set_autocast_enabled get_autocast_dtype set_autocast_dtype amp
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_whole_group_is_public(name):
    assert hasattr(torch.npu, name)
    assert name in torch.npu.__all__
