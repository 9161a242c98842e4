"""Snapshots of the allocator in the form that torch.cuda._memory_viz and its web page read.

Addresses are simulated ones, the same in every run; times are simulated microseconds of the host.
"""

import pickle
import sys
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _existing, _index_of, device_count
from torch_npu_sim.npu.lifecycle import _lazy_init

__all__ = ["is_recording", "memory_snapshot"]

_recording = False


def is_recording() -> bool:
    """Returns whether `_record_memory_history` is on."""
    return _recording


def memory_snapshot(mempool_id: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """Returns the segments of every card, each with its blocks.

    Args:
        mempool_id: a private pool's `MemPool.id`: only its segments; (0, 0) is the default pool.
    """
    _lazy_init()
    segments = [segment for index in range(device_count()) for segment in _C.memory_snapshot(index)]
    return [s for s in segments if mempool_id in (None, s["segment_pool_id"])]


def _record_memory_history(
    enabled: str | bool | None = "all",
    context: str | None = "all",
    stacks: str = "all",
    max_entries: int = sys.maxsize,
    device: DeviceLike = None,
    clear_history: bool = False,
    **_unused: Any,
) -> None:
    """Starts or stops recording what the allocator does, on every card.

    Args:
        enabled: None or False stops and clears; "state", "all" and True record.
        context: accepted; call stacks are not recorded.
        stacks: accepted; call stacks are not recorded.
        max_entries: how many of the latest events of a card are kept.
        device: accepted; history is of all cards.
        clear_history: forget what was recorded before.

    Raises:
        ValueError: `enabled` is something else.
    """
    if enabled not in (None, False, True, "state", "all"):
        raise ValueError(
            "torch.npu.memory._record_memory_history: expected enabled to be None, 'state' or "
            f"'all', got {enabled!r}"
        )
    del context, stacks, device
    global _recording
    _recording = bool(enabled)
    _lazy_init()
    if clear_history or not enabled:
        _C.record_memory_history(0)
    if enabled:
        _C.record_memory_history(max_entries)


def _snapshot(device: DeviceLike = None, **_unused: Any) -> dict[str, Any]:
    """Returns segments, the recorded events of each card, and the allocator's settings.

    Args:
        device: if given, the other cards' events and segments are left out.
    """
    _lazy_init()
    wanted = None if device is None else _existing(_index_of(device), "memory._snapshot")
    indices = range(device_count())
    return {
        "segments": [s for s in memory_snapshot() if wanted in (None, s["device"])],
        "device_traces": [
            _C.memory_history(index) if wanted in (None, index) else [] for index in indices
        ],
        "allocator_settings": {
            "PYTORCH_NPU_ALLOC_CONF": "",
            "expandable_segments": False,
            "max_split_size": -1,
            "garbage_collection_threshold": 0.0,
            "roundup_power2_divisions": {},
        },
        "external_annotations": [],
    }


def _dump_snapshot(filename: str = "dump_snapshot.pickle", **unused: Any) -> None:
    """Writes _snapshot() to a file that torch's memory_viz page opens."""
    snapshot = _snapshot(**unused)
    with open(filename, "wb") as file:
        pickle.dump(snapshot, file)
