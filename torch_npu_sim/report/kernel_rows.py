"""Kernels of a trace put together: by what they are, by stream over time, memory by moment."""

from collections import defaultdict
from dataclasses import dataclass

from torch_npu_sim.report.kernel import Kernel, MemorySample

__all__ = ["FAMILIES", "KernelRow", "Span", "Track", "family_of", "kernel_rows", "memory_steps"]

# Kind of kernel -> what it keeps busy. A page has a colour for each of these.
_KINDS = {
    "matmul": "cube",
    "grouped_matmul": "cube",
    "attention": "cube",
    "convolution": "cube",
    "vector": "vector",
    "row": "vector",
    "sort": "vector",
    "copy": "data movement",
    "gather": "data movement",
    "copy_h2d": "link",
    "copy_d2h": "link",
    "host": "host fallback",
}
FAMILIES = ("cube", "vector", "data movement", "link", "host fallback", "other")


def family_of(kind: str) -> str:
    """Returns what a kind of kernel keeps busy."""
    return _KINDS.get(kind, "link" if kind.startswith("copy_") else "other")


@dataclass
class KernelRow:
    """All kernels of one operator, shape and formats."""

    op: str
    kind: str
    work: str
    provenance: str
    calls: int = 0
    total_us: float = 0.0
    least_us: float = float("inf")
    most_us: float = 0.0
    flops: int = 0
    moved_bytes: int = 0  # read and written
    energy_j: float = 0.0
    bound: str = ""  # of the longest

    @property
    def family(self) -> str:
        """What they keep busy."""
        return family_of(self.kind)

    def add(self, kernel: Kernel) -> None:
        """Counts a kernel."""
        if kernel.duration_us >= self.most_us:
            self.most_us, self.bound = kernel.duration_us, kernel.bound
        self.calls += 1
        self.total_us += kernel.duration_us
        self.least_us = min(self.least_us, kernel.duration_us)
        self.flops += kernel.flops
        self.moved_bytes += kernel.bytes_read + kernel.bytes_written
        self.energy_j += kernel.energy_j


def kernel_rows(kernels: list[Kernel]) -> list[KernelRow]:
    """Returns a row for each operator, shape and formats, the costliest first."""
    rows: dict[tuple[str, str, str, str], KernelRow] = {}
    for kernel in kernels:
        key = kernel.op, kernel.name, kernel.work, kernel.provenance
        rows.setdefault(key, KernelRow(*key)).add(kernel)
    return sorted(rows.values(), key=lambda row: (-row.total_us, row.op, row.work))


@dataclass
class Span:
    """Kernels that follow one another in a stream, from the start of the first."""

    start_us: float
    end_us: float
    busy_us: float
    kernels: int
    longest: Kernel


@dataclass
class Track:
    """One stream of one card."""

    device: int
    stream: int
    spans: list[Span]

    @classmethod
    def all_of(cls, kernels: list[Kernel], most_spans: int) -> "tuple[list[Track], int]":
        """Returns the streams, and how many kernels a span holds so that there are few enough."""
        each = max(-(-len(kernels) // most_spans), 1)
        streams: defaultdict[tuple[int, int], list[Kernel]] = defaultdict(list)
        for kernel in kernels:
            streams[kernel.device, kernel.stream].append(kernel)
        tracks = []
        for (device, stream), chain in sorted(streams.items()):
            groups = [chain[i : i + each] for i in range(0, len(chain), each)]
            tracks.append(cls(device, stream, [_span(group) for group in groups]))
        return tracks, each


def _span(group: list[Kernel]) -> Span:
    return Span(
        start_us=group[0].start_us,
        end_us=group[-1].end_us,
        busy_us=sum(kernel.duration_us for kernel in group),
        kernels=len(group),
        longest=max(group, key=lambda kernel: kernel.duration_us),
    )


def memory_steps(samples: list[MemorySample], most: int) -> dict[int, list[MemorySample]]:
    """Returns the samples of each card, thinned to about `most`; every peak of a stretch stays."""
    by_device: defaultdict[int, list[MemorySample]] = defaultdict(list)
    for sample in samples:
        by_device[sample.device].append(sample)
    return {device: _thinned(found, most) for device, found in sorted(by_device.items())}


def _thinned(samples: list[MemorySample], most: int) -> list[MemorySample]:
    each = max(-(-2 * len(samples) // most), 1)
    if each < 2:
        return samples
    kept = []
    for i in range(0, len(samples), each):
        stretch = samples[i : i + each]
        peak = max(range(len(stretch)), key=lambda j: stretch[j].allocated_bytes)
        kept += [stretch[j] for j in sorted({peak, len(stretch) - 1})]
    return kept
