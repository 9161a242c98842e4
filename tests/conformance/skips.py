"""What is not run, and why: only what no out-of-tree device can do in this release of torch.

Each reason names the line of torch that prevents it. Samples that the CPU itself refuses need no
entry: they are counted as refused.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.conformance.items import Item


@dataclass(frozen=True)
class Skip:
    """Items whose id matches `pattern` (as in a shell) are skipped for `reason`.

    `source` is the line of torch, as `file:line` below the installed package, or of its sources.
    """

    pattern: str
    reason: str
    source: str


_STATISTICS = (
    "in evaluation torch's decomposition, which FakeTensorMode asks, gives the running statistics "
    "back on every device but the CPU; npu runs the CPU's kernel, which gives empty tensors"
)
_STATISTICS_LINE = "torch/_decomp/decompositions.py:2130"
_PRECISION = (
    "for 16-bit floats torch's decomposition, which FakeTensorMode asks, gives float32 statistics "
    "on every device but the CPU; npu runs the CPU's kernel, which gives them in the input's dtype"
)
_LAYER_NORM_LINE = "torch/_refs/__init__.py:3505"
_BATCH_NORM_LINE = "torch/_decomp/decompositions.py:2150"

SKIPS: tuple[Skip, ...] = (
    Skip("op_db/native_batch_norm/meta/*", _STATISTICS, _STATISTICS_LINE),
    Skip("op_db/_native_batch_norm_legit/meta/*", _STATISTICS, _STATISTICS_LINE),
    Skip("op_db/native_layer_norm/meta/*float16", _PRECISION, _LAYER_NORM_LINE),
    Skip("op_db/_batch_norm_with_update/meta/*float16", _PRECISION, _BATCH_NORM_LINE),
)


def skip_of(item: Item) -> Skip | None:
    """The entry that skips an item, if any."""
    return next((skip for skip in SKIPS if fnmatchcase(item.id, skip.pattern)), None)
