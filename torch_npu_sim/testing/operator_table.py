"""Writes the table of torch_npu's operators: what is built, and what each one can do.

    python -m torch_npu_sim.testing.operator_table [docs/operators.md] [--check]

Nothing in the table is written by hand. Status, Meta and backward are asked of the dispatcher; the
kind of work is read from the describers' source, dtypes and file from that of the tests.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_npu_sim.testing.describer_kinds import DescriberKinds
from torch_npu_sim.testing.schemas import registered

__all__ = ["OperatorTests", "Row", "lines", "rows"]

ROOT = Path(__file__).parents[2]
_DTYPES = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8 e4m3",
    "float8_e5m2": "fp8 e5m2",
    "float8_e8m0fnu": "e8m0",
    "float4_e2m1fn_x2": "fp4",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint8": "uint8",
    "bool": "bool",
}
_SHORT = {"half": "float16", "float": "float32", "double": "float64", "int": "int32"}


@dataclass(frozen=True)
class Row:
    """One operator, overloads apart."""

    name: str
    status: str
    meta: bool
    backward: bool
    dtypes: str
    kind: str
    test: str


class OperatorTests:
    """What the sources of the tests say about each operator: which file, and which dtypes in it.

    A name counts where the code of a test reads it as an attribute or as a string. Dtypes are those
    that the file reads, so they are an upper bound where a file has several operators.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the test files of a folder."""
        self._files: dict[str, list[str]] = {}
        self._dtypes: dict[str, set[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        for path in sorted(folder.glob("test_*.py")):
            if path.stem == "test_contract":
                continue  # it names operators as examples of what is not built
            if path.stem.startswith("test_extension"):
                continue  # its operators are in other namespaces, some with the same names
            self._read(path)

    def _read(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        self._dtypes[path.name] = set(_dtypes_in(tree))
        for word in _words_in(tree):
            files = self._files.setdefault(word, [])
            if path.name not in files:
                files.append(path.name)
            self._counts[word, path.name] = self._counts.get((word, path.name), 0) + 1

    def file_of(self, name: str) -> str:
        """Returns the file that names the operator most often, a fuzz test last; "" if none.

        A gradient that no test names is tested through the operator whose gradient it is, a
        functional form next to the other, and `_npu_x` through the `npu_x` that calls it.
        """
        forward = name.removesuffix("_backward").removesuffix("_grad").removesuffix("_functional")
        forward = forward.removeprefix("_")
        files = self._files.get(name, [])
        if not files and forward != name:
            return self.file_of(forward)
        return min(files, key=lambda f: ("fuzz" in f, -self._counts[name, f], f), default="")

    def dtypes_of(self, name: str) -> list[str]:
        """Returns the dtypes that the operator's file reads, in the order of the table's legend."""
        found = self._dtypes.get(self.file_of(name), set())
        return [short for dtype, short in _DTYPES.items() if dtype in found]


def _words_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.removeprefix("npu::").split(".")[0]


def _dtypes_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of_torch = isinstance(node.value, ast.Name) and node.value.id == "torch"
            if of_torch and node.attr in _DTYPES:
                yield node.attr
            elif not of_torch and node.attr in _SHORT:
                yield _SHORT[node.attr]


def rows() -> list[Row]:
    """Returns a row for every operator of ``torch.ops.npu``, in the order of their names."""
    absent = {
        name: status
        for status, file in (("aclop only", "aclop_only.txt"), ("lacking", "lacking.txt"))
        for name in (ROOT / "csrc/ops" / file).read_text().split()
    }
    tests, kinds = OperatorTests(ROOT / "tests/ops"), DescriberKinds(ROOT / "csrc")
    return [
        _row(name, absent.get(name, "not built"), tests, kinds) for name in sorted(registered())
    ]


def _row(name: str, absent: str, tests: OperatorTests, kinds: DescriberKinds) -> Row:
    # A factory has no tensor to be dispatched by.
    if not (_has_kernel(name, "PrivateUse1") or _has_kernel(name, "BackendSelect")):
        return Row(name, absent, meta=False, backward=False, dtypes="", kind="", test="")
    base = name.split(".")[0]
    kind = ", ".join(kinds.of(name))
    return Row(
        name,
        "built" if kind else "raises",
        meta=_has_kernel(name, "Meta"),
        backward=_has_kernel(name, "Autograd") or _has_kernel(name, "AutogradPrivateUse1"),
        dtypes=", ".join(tests.dtypes_of(base)),
        kind=kind,
        test=tests.file_of(base),
    )


def _has_kernel(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"npu::{name}", key)


def lines(table: list[Row]) -> list[str]:
    """Returns the page as lines."""
    counts = {status: sum(r.status == status for r in table) for status in _MEANINGS}
    page = [*_HEAD, "", "| Status | Operators | Meaning |", "| --- | --- | --- |"]
    page += [f"| {status} | {counts[status]} | {text} |" for status, text in _MEANINGS.items()]
    page += ["", _COLUMNS, "| --- | --- | --- | --- | --- | --- | --- |"]
    page += [_line(row) for row in table]
    return page


def _line(row: Row) -> str:
    meta, backward = ("yes" if flag else "" for flag in (row.meta, row.backward))
    test = f"`{row.test}`" if row.test else ""
    cells = [f"`{row.name}`", row.status, meta, backward, row.dtypes, row.kind, test]
    return ("| " + " | ".join(cells) + " |").replace("|  |", "| |").replace("|  |", "| |")


_MEANINGS = {
    "built": "real values, simulated time",
    "raises": "a kernel without work: says why the card refuses the call, as there",
    "aclop only": "no aclnn kernel: raises on Ascend 950 presets, as on the card",
    "lacking": "an aclnn kernel of other products only: raises on Ascend 950 presets",
    "not built": "raises NotImplementedError",
}
_HEAD = [
    "# Every operator of torch_npu",
    "",
    "Written by `python -m torch_npu_sim.testing.operator_table`, which asks the dispatcher, the",
    "describers and the sources of the tests; do not edit. [ops.md](ops.md) says how one is made.",
]
_COLUMNS = (
    "| Operator | Status | Meta | Backward | Dtypes in its tests | Work | Tests in tests/ops |"
)


def main() -> None:
    """Writes the page, or with --check ends with status 1 if the file differs from it."""
    parser = argparse.ArgumentParser(prog="operator_table", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "docs/operators.md")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args()
    page = "\n".join(lines(rows())) + "\n"
    if not options.check:
        options.file.write_text(page)
    elif not options.file.exists() or options.file.read_text() != page:
        sys.exit(
            f"{options.file}: expected the table of the built operators, got another; run "
            "python -m torch_npu_sim.testing.operator_table"
        )


if __name__ == "__main__":
    main()
