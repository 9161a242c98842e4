"""The rooms of csrc know only whom they may know; files stay readable.

Every rule is a function from a source tree to a list of complaints. Each is run on the real tree,
where it must find nothing, and on a tree made wrong on purpose, where it must complain.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TORCH_FREE = {"base", "compute", "model", "runtime"}
KNOWS = {
    "base": set(),
    "model": {"base"},
    "compute": {"base"},
    "runtime": {"base", "model"},
    "backend": {"base", "model", "runtime"},
    "aten": {"base", "model", "runtime", "backend", "compute"},
    # Its operators are CPU kernels behind the route of aten, described as aten's are.
    "ops": {"base", "model", "runtime", "backend", "compute", "aten"},
    "hccl": {"base", "model", "runtime", "backend", "compute"},
    "python": {"base", "model", "runtime", "backend", "aten", "ops", "hccl"},
}
TORCH_HEADER = re.compile(r"^(ATen|c10|caffe2|torch|pybind11)/|^Python\.h$")
# Values and hosts know of threads and clocks; a model is arithmetic.
NOT_FOR_MODEL = {"thread", "mutex", "shared_mutex", "future", "atomic", "condition_variable"}
# The runtime's clock is simulated: it has no reason to read the host's.
WALL_CLOCK = re.compile(r"\b(system_clock|steady_clock|high_resolution_clock|clock_gettime)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

MAX_LINES = {".cpp": 500, ".h": 150, ".py": 500}
EMPTY_NAMES = {"utils", "util", "common", "misc", "extra", "helpers"}


def cpp_files(csrc: Path) -> Iterator[Path]:
    """Yields the C++ files of a tree, in a stable order."""
    yield from sorted(p for p in csrc.rglob("*") if p.suffix in {".h", ".cpp"})


def includes(path: Path) -> list[tuple[str, str]]:
    """Returns (bracket, name) of each #include of a file."""
    return INCLUDE.findall(path.read_text())


def room_of(csrc: Path, path: Path) -> str:
    """Returns the first folder below csrc."""
    return path.relative_to(csrc).parts[0]


def forbidden_includes(csrc: Path) -> list[str]:
    """Includes of a room, or of torch, that the including room must not know."""
    complaints = []
    for path in cpp_files(csrc):
        room = room_of(csrc, path)
        where = path.relative_to(csrc)
        if room not in KNOWS:
            complaints.append(f"{where}: expected one of the rooms {sorted(KNOWS)}, got {room}")
            continue
        for bracket, name in includes(path):
            if bracket == '"':
                complaints += complaints_of_own(csrc, where, room, name)
            elif room in TORCH_FREE and TORCH_HEADER.match(name):
                complaints.append(f"{where}: {room} must not include torch, got <{name}>")
            elif room == "model" and name in NOT_FOR_MODEL:
                complaints.append(f"{where}: model keeps no threads, got <{name}>")
    return complaints


def complaints_of_own(csrc: Path, where: Path, room: str, name: str) -> list[str]:
    """Complaints about one #include "..." of our own."""
    if not (csrc / name).is_file():
        return [f'{where}: expected a path below csrc, got "{name}"']
    target = Path(name).parts[0]
    if target != room and target not in KNOWS[room]:
        return [f'{where}: {room} must not know {target}, got "{name}"']
    return []


def wall_clock_reads(csrc: Path) -> list[str]:
    """Reads of the host's clock in the rooms of simulated time."""
    return [
        f"{path.relative_to(csrc)}: simulated time must not read {found[1]}"
        for path in cpp_files(csrc)
        if room_of(csrc, path) in TORCH_FREE
        for found in WALL_CLOCK.finditer(path.read_text())
    ]


def include_cycles(csrc: Path) -> list[str]:
    """Cycles among our own headers, each told once."""
    graph = {
        str(path.relative_to(csrc)): [name for bracket, name in includes(path) if bracket == '"']
        for path in cpp_files(csrc)
    }
    done: set[str] = set()
    cycles: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            cycles.append(" -> ".join((*trail[trail.index(name) :], name)))
        elif name not in done:
            for below in graph.get(name, []):
                visit(below, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return cycles


def long_files(root: Path) -> list[str]:
    """Source files beyond the hard limit of lines."""
    complaints = []
    for folder in ("csrc", "torch_npu_sim", "tests", "examples", "scripts", "cmake"):
        for path in sorted((root / folder).rglob("*")):
            limit = MAX_LINES.get(path.suffix)
            if limit is None:
                continue
            lines = len(path.read_text().splitlines())
            if lines > limit:
                complaints.append(
                    f"{path.relative_to(root)}: expected at most {limit} lines, got {lines}; "
                    "split it by subject"
                )
    return complaints


def empty_names(root: Path) -> list[str]:
    """Files and folders whose name says nothing of their subject; the shim's are torch_npu's."""
    given = root / "torch_npu_sim/shim"
    return [
        f"{path.relative_to(root)}: name it by its subject"
        for folder in ("csrc", "torch_npu_sim", "tests", "examples")
        for path in sorted((root / folder).rglob("*"))
        if path.stem in EMPTY_NAMES and given not in path.parents
    ]


RULES = {
    "forbidden_includes": lambda root: forbidden_includes(root / "csrc"),
    "wall_clock_reads": lambda root: wall_clock_reads(root / "csrc"),
    "include_cycles": lambda root: include_cycles(root / "csrc"),
    "long_files": long_files,
    "empty_names": empty_names,
}

# A tree with one sin a case: (rule, file, its text, a word of the complaint).
SINS = [
    ("forbidden_includes", "csrc/base/a.h", '#include "model/work.h"', "base must not know model"),
    ("forbidden_includes", "csrc/model/a.h", "#include <ATen/ATen.h>", "must not include torch"),
    ("forbidden_includes", "csrc/runtime/a.cpp", "# include <c10/core/Device.h>", "torch"),
    ("forbidden_includes", "csrc/runtime/a.cpp", "#include <pybind11/pybind11.h>", "torch"),
    ("forbidden_includes", "csrc/model/a.cpp", "#include <mutex>", "keeps no threads"),
    ("forbidden_includes", "csrc/aten/a.cpp", '#include "ops/op.h"', "aten must not know ops"),
    ("forbidden_includes", "csrc/backend/a.cpp", '#include "ops/op.h"', "must not know ops"),
    ("forbidden_includes", "csrc/compute/a.cpp", '#include "runtime/clock.h"', "not know runtime"),
    ("forbidden_includes", "csrc/backend/a.cpp", '#include "../base/b.h"', "path below csrc"),
    ("forbidden_includes", "csrc/parlour/a.cpp", "int a;", "one of the rooms"),
    ("wall_clock_reads", "csrc/runtime/a.cpp", "std::chrono::steady_clock::now();", "read"),
    ("include_cycles", "csrc/model/work.h", '#include "model/work.h"', "work.h -> model/work.h"),
    ("long_files", "csrc/model/a.h", "\n" * 151, "at most 150"),
    ("long_files", "torch_npu_sim/a.py", "\n" * 501, "at most 500"),
    ("empty_names", "csrc/model/utils.h", "", "by its subject"),
]


@pytest.fixture
def clean_tree(tmp_path: Path) -> Path:
    """A small tree that keeps every rule."""
    files = {
        "csrc/base/b.h": "#include <vector>",
        "csrc/model/work.h": '#include "base/b.h"',
        "csrc/runtime/clock.h": '#include "model/work.h"\n#include <mutex>',
        "csrc/aten/op.h": '#include <ATen/ATen.h>\n#include "runtime/clock.h"',
        "csrc/ops/op.h": '#include "runtime/clock.h"',
        "torch_npu_sim/face.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("rule", RULES)
def test_the_sources_keep_the_rule(rule: str) -> None:
    assert list(cpp_files(ROOT / "csrc")), "no C++ source was found; nothing would be checked"
    assert RULES[rule](ROOT) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_clean_tree_gets_no_complaint(rule: str, clean_tree: Path) -> None:
    assert RULES[rule](clean_tree) == []


@pytest.mark.parametrize(("rule", "name", "text", "complaint"), SINS)
def test_a_sin_is_found(rule: str, name: str, text: str, complaint: str, clean_tree: Path) -> None:
    (clean_tree / name).parent.mkdir(parents=True, exist_ok=True)
    (clean_tree / name).write_text(text)
    found = RULES[rule](clean_tree)
    assert len(found) == 1
    assert complaint in found[0]


def test_a_cycle_over_three_headers_is_told_once(clean_tree: Path) -> None:
    for one, two in (("x", "y"), ("y", "z"), ("z", "x")):
        (clean_tree / f"csrc/model/{one}.h").write_text(f'#include "model/{two}.h"')
    cycles = include_cycles(clean_tree / "csrc")
    assert cycles == ["model/x.h -> model/y.h -> model/z.h -> model/x.h"]
