"""What a trace holds: kernels and memory samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_npu_sim.report.accuracy import refined_provenance

__all__ = ["Kernel", "MemorySample"]

_PS_PER_US = 1_000_000
_PJ_PER_J = 1e12


@dataclass(frozen=True)
class Kernel:
    """One kernel that ran. Times are simulated; 0 is the start of the trace."""

    name: str  # kind of kernel: "matmul", "vector", "copy_h2d" ...
    op: str  # the operator that launched it: "aten::mm"
    device: int
    stream: int
    issued_us: float  # when the host launched it
    start_us: float
    duration_us: float
    alone_us: float  # its duration if nothing else had used the card
    bound: str  # what decided the duration: "launch" or the name of a pipe
    pipes: dict[str, float]  # pipe -> busy us; idle pipes are left out
    bytes_read: int
    bytes_written: int
    flops: int
    energy_j: float
    work: str  # shapes and formats in words
    provenance: str  # what the figure rests on: "calibrated", "undescribed" ...
    bytes_hit: int = 0  # of the bytes read: L2 held them
    bytes_l2: int = 0  # between L2 and the cores, re-fetches included
    bytes_hibl_read: int = 0  # from device memory
    bytes_hibl_written: int = 0  # to device memory, evicted lines of earlier kernels included
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the work, field by field

    @property
    def end_us(self) -> float:
        """When it ended."""
        return self.start_us + self.duration_us

    @classmethod
    def from_record(
        cls, record: dict[str, Any], begin_ps: int, chip: str, fidelity: str
    ) -> "Kernel":
        """Makes a kernel of one row of `_C.stop_trace`, run on a chip at a fidelity."""
        provenance, kind = record["provenance"], record["name"]
        return cls(
            name=record["name"],
            op=record["op"],
            device=record["device"],
            stream=record["stream"],
            issued_us=(record["issued_ps"] - begin_ps) / _PS_PER_US,
            start_us=(record["start_ps"] - begin_ps) / _PS_PER_US,
            duration_us=(record["end_ps"] - record["start_ps"]) / _PS_PER_US,
            alone_us=record["alone_ps"] / _PS_PER_US,
            bound=record["bound"],
            pipes={pipe: busy / _PS_PER_US for pipe, busy in record["pipes_ps"].items()},
            bytes_read=record["bytes_read"],
            bytes_written=record["bytes_written"],
            flops=record["flops"],
            energy_j=record["energy_pj"] / _PJ_PER_J,
            work=record["work"],
            provenance=refined_provenance(provenance, chip, kind, fidelity),
            bytes_hit=record["bytes_hit"],
            bytes_l2=record["bytes_l2"],
            bytes_hibl_read=record["bytes_hibl_read"],
            bytes_hibl_written=record["bytes_hibl_written"],
            fields=record["fields"],
        )


@dataclass(frozen=True)
class MemorySample:
    """The memory of one card at one moment of the host's simulated time."""

    device: int
    at_us: float
    allocated_bytes: int
    reserved_bytes: int

    @classmethod
    def from_record(cls, record: tuple[int, int, int, int], begin_ps: int) -> "MemorySample":
        """Makes a sample of one row of `_C.stop_trace`."""
        device, at_ps, allocated, reserved = record
        return cls(device, (at_ps - begin_ps) / _PS_PER_US, allocated, reserved)
