"""``torch_npu.distributed``: HCCL for one process.

A group of one rank is complete: every collective is the identity. Links between cards are not
simulated yet, so larger groups are refused; gloo runs them on tensors of the host.
"""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from torch_npu_sim.distributed.one_rank import OneRankGroup

__all__ = [
    "ParallelStore",
    "ProcessGroupHCCL",
    "all_gather_into_tensor_uneven",
    "is_available",
    "is_hccl_available",
    "reduce_scatter_tensor_uneven",
    "register",
    "reinit_process_group",
]


def is_available() -> bool:
    """Returns whether torch was built with torch.distributed."""
    return dist.is_available()


def is_hccl_available() -> bool:
    """Returns whether the backend "hccl" can be asked for."""
    return dist.is_available()


class ProcessGroupHCCL:
    """The name that code takes options from: `ProcessGroupHCCL.Options()`."""

    class Options:
        """Options of a group: any attribute may be set, and none has an effect on one rank."""

        backend = "hccl"

        def __init__(self, **kwargs: Any) -> None:
            """Starts with those of torch_npu that code reads before it writes."""
            self.hccl_config: dict[str, Any] = {}
            self.op_timeout = timedelta(seconds=1836)  # torch_npu's default
            self.is_high_priority_stream = False
            self.global_ranks_in_group: list[int] = []
            self.group_id = ""
            self.__dict__.update(kwargs)


class ParallelStore:
    """Would be torch_npu's store for thousands of ranks."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Refuses.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "ParallelStore: expected several ranks, got a simulation of one; use dist.TCPStore"
        )


def _create_group(options: Any, _backend_options: Any = None) -> Any:
    """Makes the group that `init_process_group("hccl")` asks for."""
    if options.group_size != 1:
        raise NotImplementedError(
            f"hccl: expected a group of 1 rank, got {options.group_size}; links between cards are "
            'not simulated yet: use backend "gloo" with tensors of the host'
        )
    return OneRankGroup(options.group_rank, options.group_size)


def register() -> None:
    """Makes "hccl" the backend of npu in torch.distributed. Called once, at start-up."""
    dist.Backend.register_backend("hccl", _create_group, extended_api=True, devices=["npu"])
    for module in (dist, dist.distributed_c10d):
        module.is_hccl_available = is_hccl_available  # type: ignore[attr-defined]
        module.ProcessGroupHCCL = ProcessGroupHCCL  # type: ignore[attr-defined]


def reinit_process_group(group: Any = None, rebuild_link: bool = True) -> None:
    """Would build the links of a group again after a fault: one rank has none."""
    del group, rebuild_link


def _check_one_rank(group: Any, caller: str) -> None:
    if dist.get_world_size(group) != 1:
        raise NotImplementedError(f"{caller}: expected a group of 1 rank")


def all_gather_into_tensor_uneven(
    output: torch.Tensor,
    input: torch.Tensor,  # noqa: A002 (torch's name)
    output_split_sizes: list[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Gathers pieces of different sizes; of one rank that is a copy."""
    _check_one_rank(group, "all_gather_into_tensor_uneven")
    del output_split_sizes
    return dist.all_gather_into_tensor(output, input, group, async_op)


def reduce_scatter_tensor_uneven(
    output: torch.Tensor,
    input: torch.Tensor,  # noqa: A002 (torch's name)
    input_split_sizes: list[int] | None = None,
    op: Any = dist.ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Reduces and scatters pieces of different sizes; of one rank that is a copy."""
    _check_one_rank(group, "reduce_scatter_tensor_uneven")
    del input_split_sizes
    return dist.reduce_scatter_tensor(output, input, op, group, async_op)
