"""What is found in a project: where, of which kind, and what to do."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["Finding", "Kind", "Report"]


class Kind(StrEnum):
    """What becomes of a piece of code, in the order in which reports list them."""

    EXTENSION = "extension"  # CUDA sources, or a library of CUDA kernels
    NOT_REDIRECTED = "not redirected"  # fails, does nothing, or goes another way
    HOST_OPERATOR = "host operator"  # runs on the host: there is no kernel for the card
    FUSION = "fusion"  # the card has one kernel for what is written as several
    REDIRECTED = "redirected"  # transfer_to_npu takes care of it


TITLES = {
    Kind.EXTENSION: "CUDA extensions and libraries",
    Kind.NOT_REDIRECTED: "What transfer_to_npu does not redirect",
    Kind.HOST_OPERATOR: "Operators without an NPU kernel",
    Kind.FUSION: "Fused operators that would serve",
    Kind.REDIRECTED: "What transfer_to_npu redirects",
}


@dataclass(frozen=True, order=True)
class Finding:
    """One place in a file, `line` and `column` from 1."""

    path: str
    line: int
    column: int
    kind: Kind
    code: str
    message: str


@dataclass
class Report:
    """Everything found below `root`; `unread` are files that are no Python, with the reason."""

    root: Path
    files: int = 0
    findings: list[Finding] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[Finding]:
        """Returns the findings of a kind, by file and line."""
        return sorted(finding for finding in self.findings if finding.kind is kind)

    def counts(self) -> dict[Kind, int]:
        """Returns how many there are of each kind."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in Kind}

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data, for JSON."""
        return {
            "root": str(self.root),
            "files": self.files,
            "counts": {str(kind): count for kind, count in self.counts().items()},
            "findings": [asdict(finding) for kind in Kind for finding in self.of(kind)],
            "unread": self.unread,
        }
