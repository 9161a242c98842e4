# ruff: noqa: E501 - the text of a page, 120 columns
"""docs/conformance.md, written from docs/conformance.json."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tests.conformance.checks import CHECKS
from tests.conformance.summary import RESULTS

_HEAD = """\
<!-- Written by `python -m tests.conformance report`; edit tests/conformance/page.py. -->
# Conformance: PyTorch's own test data on npu

torch ships the data its own tests are made of: `op_db` (operators), the `foreach` databases, `module_db` and
`optim_db`. Every entry runs on npu and on the stock CPU with the same samples, and what a program can see of the
two must agree.

```sh
make conformance                                       # all of it; goes on where it was interrupted
make conformance CONFORMANCE=--fresh                   # from the start
python -m tests.conformance run --only 'linalg.*' --check backward --dtype float32
python -m tests.conformance report                     # this page from the result file
```

Options: `--only`, `--check`, `--dtype` and `--database` select (several times, `*` allowed), `--jobs` and
`--timeout` bound the processes, `--out` names the result file (`build/conformance.jsonl`, one JSON line an item).
A resumed run repeats what failed. The quick set is part of `make test`: float32, bfloat16 and complex64, forward and
backward of `op_db`, modules and optimizers.
"""

_METHOD = """\
## How it compares

- An item is (database, entry, check, dtype), for every dtype that the CPU supports. Items run in worker processes
  with one thread each; a time-out or a crash fails the item.
- Samples are made on the CPU and moved with their whole storages: strides, offsets, gaps and shared memory stay.
  `tensor_split` draws its samples for each device, since torch wants its indices on the CPU.
- Results agree in structure, dtype, shape, strides, offset, conjugate and negative bits, `requires_grad`, device and,
  within the default tolerance of `torch.testing.assert_close`, in values. `empty` and its kin are compared without values.
- A sample on which the CPU itself raises is *refused by the CPU* and counted; an item without any other sample is
  reported as `cpu refuses`, not as passed. The jiterator entries are among these: they want CUDA.
- After each item the card must hold as many bytes as before; a leak fails the item.
- `linear_cross_entropy` in half precision, left to choose, accumulates otherwise on the CPU than on any other device
  (`torch/nn/modules/linear_cross_entropy_options.py:20`). Both sides are told the choice for other devices.
- Left to choose, an optimizer takes foreach on npu, as on torch.cuda and with the real torch_npu, and single tensors on
  the CPU (`torch/utils/_foreach_utils.py:12` names the PrivateUse1 backend). npu's own choice is compared with the CPU's foreach.
- oneDNN's bfloat16 convolution on AMX reads memory that nobody wrote where the innermost result is one wide and the
  innermost stride is not (pytorch/pytorch#169688), so the CPU's values change from call to call, and npu's, which are
  the same kernel's, with them. A double backward in which the CPU with oneDNN contradicts the CPU without it is compared
  without oneDNN on both sides.
- `nn.functional.dropout` has another autograd function on accelerators than on the CPU (`is_fused_kernel_acceptable` in
  `ATen/native/Dropout.cpp`), and torch counts the version of an `out=` tensor that it resizes only off the CPU
  (`_resize_output` in `ATen/native/Resize.cpp`). These two facts are not compared.
"""


def page(summary: dict[str, Any]) -> str:
    """The whole page."""
    parts = [_HEAD, _run(summary), _results(summary), _by_dtype(summary), _skips(summary)]
    return "\n".join([*parts, _failures(summary), _METHOD, _checks()]).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _minutes(seconds: float | None) -> str:
    return "not measured" if not seconds else f"{seconds / 60:.1f} minutes"


def _run(summary: dict[str, Any]) -> str:
    total = summary["total"]
    return f"""\
## The last full run

`{summary["command"]}`, torch {summary["torch"]}, commit {summary["commit"]}, {summary["jobs"]} worker processes:
{_minutes(summary["wall_seconds"])}; the quick set alone: {_minutes(summary["quick_wall_seconds"])}. \
{summary["items"]} of {summary["all_items"]} items have a result.

{total["passed"]} items passed, {total["failed"]} failed, {total["skipped"]} were skipped, and of {total["cpu_refuses"]} \
the CPU refuses every sample. {total["samples"]} samples were compared. The numbers are those of
[conformance.json](conformance.json).
"""


def _sums(groups: list[dict[str, Any]], by: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for group in groups:
        into = sums.setdefault(tuple(group[name] for name in by), defaultdict(int))
        for name in (*RESULTS, "samples", "seconds"):
            into[name] += group[name]
    return sums


def _results(summary: dict[str, Any]) -> str:
    sums = _sums(summary["groups"], ("database", "check"))
    names = (*RESULTS, "samples")
    rows = [
        [database, check, *(told[name] for name in names), f"{told['seconds']:.0f}"]
        for (database, check), told in sums.items()
    ]
    head = ["database", "check", "passed", "failed", "skipped", "cpu refuses", "samples", "seconds"]
    return "## Results\n\n" + _table(head, rows)


def _by_dtype(summary: dict[str, Any]) -> str:
    sums = _sums([g for g in summary["groups"] if g["database"] == "op_db"], ("check", "dtype"))
    checks = list(dict.fromkeys(check for check, _ in sums))
    dtypes = list(dict.fromkeys(dtype for _, dtype in sums))

    def cell(check: str, dtype: str) -> str:
        told = sums.get((check, dtype))
        if told is None:
            return ""
        other = told["failed"] + told["skipped"]
        return f"{told['passed']}" + (f" of {told['passed'] + other}" if other else "")

    rows = [[dtype, *(cell(check, dtype) for check in checks)] for dtype in dtypes]
    return "Operators of `op_db` that passed, by dtype:\n\n" + _table(["dtype", *checks], rows)


def _skips(summary: dict[str, Any]) -> str:
    if not summary["skips"]:
        return "## Skips\n\nNone.\n"
    rows = [
        [f"`{one['items']}`", one["count"], one["reason"], f"`{one['source']}`"]
        for one in summary["skips"]
    ]
    return "## Skips\n\n" + _table(["items", "count", "reason", "where torch says so"], rows)


def _failures(summary: dict[str, Any]) -> str:
    if not summary["failures"]:
        return ""
    rows = [
        [f"`{one['item']}`", one["message"].replace("\n", " ").replace("|", "\\|")[:300]]
        for one in summary["failures"]
    ]
    return "## Failures\n\n" + _table(["item", "message"], rows)


def _checks() -> str:
    rows = [
        [f"`{database}`", check.name, check.what, check.bound]
        for database, checks in CHECKS.items()
        for check in checks
    ]
    return "## The checks\n\n" + _table(["database", "check", "compares", "samples"], rows)
