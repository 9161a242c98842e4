"""Operators whose answer the host needs make the simulated host wait for it."""

import pytest
import torch

from torch_npu_sim import _C


def _busy(device: torch.device) -> torch.Tensor:
    """Queues work that takes far longer than the host's own calls; returns a small tensor."""
    large = torch.ones(6144, 6144, device=device)  # more than L2 holds
    for _ in range(4):
        large.add_(1)
    return torch.ones(8, 8, device=device)


def _pending(device: torch.device) -> bool:
    return not torch.npu.current_stream(device).query()


WAITS = {
    "item": lambda x: x[0, 0].item(),
    "bool": lambda x: bool(x[0, 0] > 0),
    "tolist": lambda x: x[:1, :2].tolist(),
    "cpu": lambda x: x[:2].cpu(),
    "equal": lambda x: torch.equal(x, x.clone()),
    "allclose": lambda x: torch.allclose(x, x),
    "nonzero": lambda x: (x > 0).nonzero(),
    "masked_select": lambda x: x.masked_select(x > 0),
    "mask_index": lambda x: x[x > 0],
    "unique": lambda x: x[:3, :3].unique(),
    "unique_consecutive": lambda x: x[0].unique_consecutive(),
    "repeat_interleave": lambda x: torch.repeat_interleave((x[0] > 0).long()),
    "bincount": lambda x: torch.bincount((x[0] > 0).long()),
    "is_nonzero": lambda x: x[0, 0].is_nonzero(),
    "print": lambda x: repr(x[0, :2]),
}

GOES_ON = {
    "add": lambda x: x + 1,
    "view": lambda x: x.view(-1)[3:],
    "index": lambda x: x[torch.arange(3, device=x.device)],
    "gather": lambda x: x.index_select(0, torch.arange(3, device=x.device)),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.0),
    "argmax": lambda x: x.argmax(),
    "sum": lambda x: x.sum(),
    "topk": lambda x: x.topk(3),
    "sort": lambda x: x.sort(),
    "is_same_size": lambda x: x.is_same_size(x),
    "attention": lambda x: torch.nn.functional.scaled_dot_product_attention(*[x[None, None]] * 3),
    "randn": lambda x: torch.randn_like(x),
    "embedding": lambda x: torch.nn.functional.embedding(torch.arange(3, device=x.device), x),
}


@pytest.mark.parametrize("call", WAITS.values(), ids=WAITS.keys())
def test_the_host_waits_for_an_answer_it_needs(npu, call) -> None:
    torch.npu.synchronize()
    x = _busy(npu)
    assert _pending(npu)
    call(x)
    assert not _pending(npu)


@pytest.mark.parametrize("call", GOES_ON.values(), ids=GOES_ON.keys())
def test_the_host_goes_on_when_the_answer_stays_on_the_card(npu, call) -> None:
    torch.npu.synchronize()
    x = _busy(npu)
    call(x)
    assert _pending(npu)
    torch.npu.synchronize()


def test_the_wait_lasts_as_long_as_the_queued_work(npu) -> None:
    torch.npu.synchronize()
    begin, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    before = _C.host_now_ps()
    begin.record()
    x = _busy(npu)
    end.record()
    (x > 0).nonzero()
    waited = (_C.host_now_ps() - before) / 1e9
    assert waited >= begin.elapsed_time(end)


def test_a_failing_call_for_host_results_leaves_host_memory_as_it_was(npu) -> None:
    library = torch.library.Library("npu_sim_test_host_results", "DEF")
    library.define("fails(Tensor x, Device device) -> Tensor")

    def fails(x: torch.Tensor, device: torch.device) -> torch.Tensor:
        raise RuntimeError("on purpose")

    library.impl("fails", fails, "CPU")
    x = torch.ones(4, device=npu)
    before = torch.npu.memory_allocated()
    with pytest.raises(RuntimeError, match="on purpose"):
        torch.ops.npu_sim_test_host_results.fails(x, torch.device("cpu"))
    on_host = torch.ones(1 << 16)
    assert torch.npu.memory_allocated() == before
    assert on_host.sum().item() == 1 << 16
