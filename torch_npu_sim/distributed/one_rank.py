"""A process group of one rank: every collective copies its input to its output, or does nothing."""

# torch's stubs declare the overloads that users call; a group made in Python implements one each.
# mypy: disable-error-code="override, assignment"

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d
from torch.futures import Future

__all__ = ["OneRankGroup"]

_WORK_OF: Any = vars(_distributed_c10d)["_create_work_from_future"]  # not in torch's stubs
Tensors = Sequence[torch.Tensor]


def _finished(result: Any) -> Any:
    """Returns a work that is done, and whose future holds `result`."""
    future: Future[Any] = Future()
    future.set_result(result)
    return _WORK_OF(future)


def _copied(outputs: Tensors, inputs: Tensors) -> Any:
    for output, given in zip(outputs, inputs, strict=True):
        output.copy_(given.view_as(output))
    return _finished(list(outputs))


class OneRankGroup(dist.ProcessGroup):
    """What "hccl" is for one rank. The methods are those that torch.distributed calls.

    Nothing travels, so a collective costs what its copy costs.
    """

    supports_splitting = False

    def __init__(self, rank: int, size: int) -> None:
        """Takes 0 and 1."""
        super().__init__(rank, size)  # type: ignore[call-arg]

    def getBackendName(self) -> str:  # noqa: N802 (torch's name)
        """Returns the backend's name."""
        return "hccl"

    def size(self) -> int:
        """Returns 1."""
        return 1

    def rank(self) -> int:
        """Returns 0."""
        return 0

    @property
    def pg_name(self) -> str:
        """The name under which torch.distributed keeps the group."""
        return dist.distributed_c10d._world.pg_names[self]

    @property
    def group_name(self) -> str:
        """The same."""
        return self.pg_name

    def _get_backend(self, device: torch.device) -> "OneRankGroup":
        """Returns the group itself, for any device."""
        del device
        return self

    def get_hccl_comm_name(self, rank: int, init_comm: bool = True) -> str:
        """Returns the name that fused operators take for the group."""
        del rank, init_comm
        return f"hccl_group_{self.pg_name}"

    def allreduce(self, tensors: Tensors, opts: Any = None) -> Any:
        """Leaves the tensors as they are: they are the sum, the maximum, the average."""
        return _finished(list(tensors))

    allreduce_coalesced = broadcast = reduce = allreduce

    def barrier(self, opts: Any = None) -> Any:
        """Waits for nobody."""
        return _finished([])

    def allgather(self, outputs: Sequence[Tensors], inputs: Tensors, opts: Any = None) -> Any:
        """Copies each input to the one output of its list."""
        _copied([tensors[0] for tensors in outputs], inputs)
        return _finished(outputs)

    gather = allgather

    def reduce_scatter(self, outputs: Tensors, inputs: Sequence[Tensors], opts: Any = None) -> Any:
        """Copies the one input of each list to its output."""
        return _copied(outputs, [tensors[0] for tensors in inputs])

    def scatter(self, outputs: Tensors, inputs: Sequence[Tensors], opts: Any = None) -> Any:
        """Copies the one input of each list to its output."""
        return _copied(outputs, [tensors[0] for tensors in inputs])

    def all_gather_single(self, output: torch.Tensor, given: torch.Tensor, opts: Any = None) -> Any:
        """Copies the input."""
        return _copied([output], [given])

    reduce_scatter_single = all_gather_single

    def all_gather_single_coalesced(
        self, outputs: Tensors, inputs: Tensors, opts: Any = None
    ) -> Any:
        """Copies each input."""
        return _copied(outputs, inputs)

    reduce_scatter_single_coalesced = alltoall = all_gather_single_coalesced

    def all_to_all_single(self, output: torch.Tensor, given: torch.Tensor, *_splits: Any) -> Any:
        """Copies the input."""
        return _copied([output], [given])
