"""Memory of the card as tensors see it: exact counts, a full card, host pages, peaks."""

import copy
import gc
import sys

import pytest
import torch

GIB = 1 << 30
UNIT = 1 << 21  # large segments are whole multiples of it


@pytest.fixture(autouse=True)
def clean():
    """Starts with an empty cache and fresh peaks."""
    gc.collect()
    torch.npu.empty_cache()
    torch.npu.reset_peak_memory_stats()
    yield
    gc.collect()


def allocations() -> int:
    """Returns how many blocks are in use on the current card."""
    return torch.npu.memory_stats()["allocation.all.current"]


def peak_of(work) -> int:
    """Returns by how many bytes `work` raises the peak; what it returns lives until then."""
    torch.npu.reset_peak_memory_stats()
    before = torch.npu.memory_allocated()
    kept = work()
    peak = torch.npu.max_memory_allocated() - before
    del kept
    return peak


def resident_bytes() -> int:
    """Returns the host memory that this process has committed."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def test_ten_thousand_operators_leave_nothing_behind():
    blocks, held = allocations(), torch.npu.memory_allocated()
    x = torch.randn(8, 8, device="npu")
    for step in range(2000):
        y = torch.softmax(x @ x + step, -1).view(-1)[3:9].sum()
    assert allocations() == blocks + 2
    del x, y
    assert allocations() == blocks
    assert torch.npu.memory_allocated() == held


def test_training_steps_hold_no_more_after_the_tenth_than_after_the_second():
    model = torch.nn.Linear(16, 16).npu()
    optimizer = torch.optim.AdamW(model.parameters())
    held = []
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(4, 16, device="npu")).square().sum().backward()
        optimizer.step()
        held.append(torch.npu.memory_allocated())
    assert held[9] == held[1]


def test_a_graph_of_autograd_is_freed_with_its_result():
    x = torch.ones(1000, device="npu", requires_grad=True)
    before = allocations()
    y = (x.exp() * x).sum()
    assert allocations() > before
    del y
    assert allocations() == before


def test_operators_keep_no_reference_to_their_arguments():
    x = torch.ones(4, device="npu")
    before = sys.getrefcount(x)
    (x + x).sum()
    x.add_(1).mul_(x)
    assert sys.getrefcount(x) == before


def test_a_storage_is_freed_with_its_last_view():
    before = allocations()
    x = torch.ones(64, device="npu")
    view = x[3:7].view(2, 2).t()
    del x
    assert allocations() == before + 1
    del view
    assert allocations() == before


def test_a_deep_copy_has_memory_of_its_own_and_keeps_sharing_inside():
    x = torch.arange(4, device="npu:2")
    whole, part = copy.deepcopy([x, x[1:]])
    x.zero_()
    assert whole.tolist() == [0, 1, 2, 3] and whole.device == x.device
    assert part.data_ptr() == whole.data_ptr() + 8


@pytest.mark.parametrize(
    "fails",
    [
        lambda x: torch.linalg.cholesky(-torch.eye(30, device="npu")),
        lambda x: x @ torch.ones(7, 7, device="npu"),
        lambda x: x[torch.tensor([99], device="npu")],
        lambda x: torch.cat([x, torch.ones(3, 3, 3, device="npu")]),
        lambda x: x.view(13),
        lambda x: torch.ones(2, device="npu:1") + x,
    ],
    ids=["cholesky", "mm", "index", "cat", "view", "mixed"],
)
def test_an_operator_that_fails_leaves_the_counts_as_they_were(fails):
    x = torch.ones(30, 30, device="npu")
    before = allocations(), torch.npu.memory_allocated()
    for _ in range(3):
        with pytest.raises((RuntimeError, IndexError)):
            fails(x)
    gc.collect()
    assert (allocations(), torch.npu.memory_allocated()) == before


def test_a_tensor_larger_than_the_host_commits_only_what_is_touched():
    before = resident_bytes()
    x = torch.empty(100 * 10**9, dtype=torch.uint8, device="npu")
    assert torch.npu.memory_allocated() >= 100 * 10**9
    x[5], x[-1] = 3, 4
    assert (x[5].item(), x[-1].item()) == (3, 4)
    assert resident_bytes() - before < 64 << 20


def test_a_freed_large_tensor_gives_its_host_pages_back():
    before = resident_bytes()
    for _ in range(8):
        torch.ones(256 << 20, dtype=torch.uint8, device="npu")
    torch.npu.empty_cache()
    assert resident_bytes() - before < 64 << 20


def fill_card() -> list[torch.Tensor]:
    """Takes 110 of the card's 112 GiB."""
    return [torch.empty(10 * GIB, dtype=torch.uint8, device="npu") for _ in range(11)]


def test_a_full_card_is_torch_s_out_of_memory_error():
    held = fill_card()
    with pytest.raises(
        torch.OutOfMemoryError, match=r"NPU out of memory\. Tried to allocate 3\.00"
    ):
        torch.empty(3 * GIB, dtype=torch.uint8, device="npu")
    assert len(held) == 11


def test_a_full_card_leaves_the_others_alone():
    held = fill_card()
    other = torch.empty(20 * GIB, dtype=torch.uint8, device="npu:1")
    assert other.device.index == 1 and len(held) == 11


def test_freeing_recovers_from_out_of_memory():
    held = fill_card()
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(10 * GIB, dtype=torch.uint8, device="npu")
    held.pop()
    assert torch.empty(10 * GIB, dtype=torch.uint8, device="npu").numel() == 10 * GIB


def test_out_of_memory_inside_an_operator_leaves_inputs_and_counts_as_they_were():
    held = fill_card()
    x = torch.arange(1 << 20, dtype=torch.int16, device="npu")
    wide = x[:, None].expand(1 << 20, 1 << 12)
    before = torch.npu.memory_allocated()
    for operator in (lambda: wide.contiguous(), lambda: wide.to(torch.int64), lambda: wide + 1):
        with pytest.raises(torch.OutOfMemoryError):
            operator()
    assert torch.npu.memory_allocated() == before
    assert x[:4].tolist() == [0, 1, 2, 3] and len(held) == 11


def test_out_of_memory_in_backward_leaves_the_device_usable():
    x = torch.ones(1, device="npu", requires_grad=True)
    y = x.expand(8 * GIB).sum()
    held = fill_card()
    with pytest.raises(torch.OutOfMemoryError):
        torch.autograd.grad((y * x.expand(8 * GIB)).sum(), x)
    del held, y
    (x * 2).sum().backward()
    assert x.grad.item() == 2


def test_out_of_memory_is_counted():
    before = torch.npu.memory_stats()["num_ooms"]
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(113 * GIB, dtype=torch.uint8, device="npu")
    assert torch.npu.memory_stats()["num_ooms"] == before + 1


def test_a_fragmented_card_refuses_what_would_fit_in_total():
    torch.npu.empty_cache()
    # 16 pieces that just fit beside what other tests may still hold, in whole allocation units.
    piece = torch.npu.mem_get_info()[0] // 16 // UNIT * UNIT - UNIT
    held = [torch.empty(piece, dtype=torch.uint8, device="npu") for _ in range(16)]
    del held[::2]  # half of it free, in holes of one piece
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(piece + GIB, dtype=torch.uint8, device="npu")
    assert torch.empty(piece, dtype=torch.uint8, device="npu").numel() == piece


def test_a_fraction_of_zero_allows_nothing_and_one_everything():
    torch.npu.set_per_process_memory_fraction(0.0)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="allowed"):
            torch.empty(1 << 20, device="npu")
    finally:
        torch.npu.set_per_process_memory_fraction(1.0)
    assert torch.empty(1 << 20, device="npu").numel() == 1 << 20


PEAKS = {
    "softmax": (lambda x: torch.softmax(x, -1), (512, 512)),
    "log_softmax": (lambda x: torch.log_softmax(x.view(-1, 64), 0), (512, 512)),
    "conv2d": (lambda x: torch.conv2d(x, torch.ones(4, 4, 3, 3).npu()), (2, 4, 64, 64)),
    "layer_norm": (lambda x: torch.nn.functional.layer_norm(x, (512,)), (512, 512)),
    "sum": (lambda x: x.t().sum(0), (512, 512)),
    "sort": (lambda x: x.sort(0)[0], (512, 512)),
    "matmul": (lambda x: x @ x, (512, 512)),
}


@pytest.mark.parametrize("name", PEAKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_temporaries_of_a_host_kernel_are_no_peak_of_the_card(name, dtype):
    function, shape = PEAKS[name]
    x = torch.ones(shape, dtype=dtype, device="npu")
    if name == "conv2d":
        weight = torch.ones(4, 4, 3, 3, dtype=dtype, device="npu")
        results = torch.conv2d(x, weight)
        outputs = (results.nbytes + 511) // 512 * 512
        del results
        assert peak_of(lambda: torch.conv2d(x, weight)) == outputs
        return
    result = function(x)
    statistics = {"layer_norm": 2 * 512 * 4, "sort": x.numel() * 8}.get(name, 0)
    outputs = result.nbytes + statistics
    del result
    assert peak_of(lambda: function(x)) <= outputs


def test_what_a_program_frees_itself_is_a_peak():
    def work() -> torch.Tensor:
        first = torch.empty(1 << 20, device="npu")
        second = torch.empty(1 << 20, device="npu")
        del first
        return second

    assert peak_of(work) == 2 * (4 << 20)


def test_operators_one_after_the_other_peak_with_both_alive():
    x = torch.ones(1 << 20, device="npu")
    assert peak_of(lambda: (x + 1) * 2) == 2 * (4 << 20)


def test_peaks_of_a_device_rise_by_work_on_another_s_guard():
    torch.npu.reset_peak_memory_stats(1)
    before = torch.npu.memory_allocated(1)
    x = torch.ones(1 << 20, device="npu:1")
    x.exp()
    assert torch.npu.max_memory_allocated(1) == before + 2 * (4 << 20)


def test_a_swapped_storage_keeps_both_tensors_right():
    a, b = torch.zeros(4, device="npu"), torch.ones(8, device="npu")
    a.data, b.data = b.data, a.data
    assert (a.tolist(), b.tolist()) == ([1] * 8, [0] * 4)
    assert (a + 1).tolist() == [2] * 8
