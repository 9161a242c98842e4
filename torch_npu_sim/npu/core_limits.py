"""How many cores kernels may use: all of the card's, unless a device or a stream is limited.

A kernel under a limit is timed on a card whose cube and vector peaks have shrunk with its cores,
and leaves the other cores to kernels on other streams. Memory and L2 keep their bandwidth.
"""

import torch

from torch_npu_sim import _C
from torch_npu_sim.npu.devices import DeviceLike, _checked_index
from torch_npu_sim.npu.streams import _checked

__all__ = [
    "get_device_limit",
    "get_stream_limit",
    "reset_stream_limit",
    "set_device_limit",
    "set_stream_limit",
]


def set_device_limit(device: DeviceLike, cube_num: int = -1, vector_num: int = -1) -> None:
    """Limits the cores of all streams of a card that have no limit of their own.

    Args:
        device: the card.
        cube_num: cube cores, from 1 to the card's; -1 leaves them as they are.
        vector_num: vector cores, likewise.

    Raises:
        ValueError: a number is out of range.
    """
    _C.limit_device_cores(_checked_index(device), cube_num, vector_num)


def get_device_limit(device: DeviceLike = None) -> dict[str, int]:
    """Returns the cores a kernel may use: cube_core_num and vector_core_num."""
    return _as_dict(_C.device_cores(_checked_index(device)))


def set_stream_limit(stream: torch.Stream, cube_num: int = -1, vector_num: int = -1) -> None:
    """Limits the cores of one stream, whatever the limit of its card.

    Args:
        stream: a stream on npu.
        cube_num: cube cores, from 1 to the card's; -1 leaves them as they are.
        vector_num: vector cores, likewise.

    Raises:
        ValueError: a number is out of range, or the stream is another device's.
    """
    here = _checked(stream)
    _C.limit_stream_cores(here.device_index, here.stream_id, cube_num, vector_num)


def get_stream_limit(stream: torch.Stream) -> dict[str, int]:
    """Returns the cores that kernels of the stream may use: its own limit, or its card's."""
    here = _checked(stream)
    return _as_dict(_C.stream_cores(here.device_index, here.stream_id))


def reset_stream_limit(stream: torch.Stream) -> None:
    """Lifts the limit of the stream: that of its card holds again."""
    here = _checked(stream)
    _C.lift_stream_limit(here.device_index, here.stream_id)


def _as_dict(cores: tuple[int, int]) -> dict[str, int]:
    cube, vector = cores
    return {"cube_core_num": cube, "vector_core_num": vector}
