"""Which kinds of work an operator's describers make, read from their C++ source.

A describer is a function of a call: before any call only its text says what it answers. The text
names the struct that it makes (`model::RowWork{...}`), or other functions that make one.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DescriberKinds"]

_ENTRY = re.compile(
    r'\{\s*"([\w.]+)",\s*((?:\w+::)*\w+)(?:<[^{}]*?>)?\s*(?:,\s*(?:\w+::)*(\w+)\s*)?\}'
)
_ENTRIES = re.compile(r"Entry \w+\[\] = \{(.*?)\};", re.DOTALL)
_FUNCTION = re.compile(
    r"^(?:\[\[nodiscard\]\] )?(?:inline )?((?:\w+::)?\w*Work)\s+(\w+)\(", re.MULTILINE
)
_NAME = re.compile(r'constexpr const char\* (\w+) = "([\w.]+)";')
_REST = re.compile(r"Describer (\w+)\[\] = \{([^}]*)\}")
_MADE = re.compile(r"\b(\w+)Work\s*(?:\w+\s*)?[{;]")
_CALL = re.compile(r"\b(\w+)\s*(?:<[^;(){}]*>)?\(")
_NAMES = {"": "", "No": "none", "GroupedMatmul": "grouped matmul"}


@dataclass
class _File:
    bodies: dict[str, str] = field(default_factory=dict)
    rests: dict[str, list[str]] = field(default_factory=dict)


class DescriberKinds:
    """Reads the describers of a source tree once; then answers by operator."""

    def __init__(self, csrc: Path) -> None:
        """Reads the operators' and the describers' rooms of a folder ``csrc``."""
        self._files: dict[Path, _File] = {}
        self._entries: dict[str, tuple[Path, list[str]]] = {}
        folders = (csrc / "ops", csrc / "aten/describe")
        paths = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
        for path in paths:
            if path.suffix in {".cpp", ".h"}:
                self._read(path, is_operator=csrc / "ops" in path.parents)

    def _read(self, path: Path, *, is_operator: bool) -> None:
        text = re.sub(r"//[^\n]*", "", path.read_text())
        for constant, name in _NAME.findall(text):
            text = re.sub(rf"\{{{constant},", f'{{"{name}",', text)
        file = _File()
        for match in _FUNCTION.finditer(text):
            body = _body(text, match.end())
            if body:
                file.bodies[match[2]] = f"{match[1]};{body}"  # a type of its own says the kind
        for name, items in _REST.findall(text):
            file.rests[name] = re.findall(r"\w+", items)
        self._files[path] = file
        entries = " ".join(_ENTRIES.findall(text)) if is_operator else ""
        for name, describer, rest in _ENTRY.findall(entries):
            describers = [describer.split("::")[-1], *file.rests.get(rest, [])]
            self._entries[_functional(name)] = (path, describers)

    def of(self, name: str) -> list[str]:
        """Returns the kinds ("vector", "row", "matmul" ...) of `npu_x` or `npu_x.overload`.

        Empty for an operator without an entry: it is timed by the bytes of its tensors.
        """
        key = _functional(name)
        entry = self._entries.get(key) or self._entries.get(key.split(".")[0])
        if entry is None:
            return []
        path, describers = entry
        kinds: list[str] = []
        for describer in describers:
            kinds += [k for k in self._kinds(path, describer, set()) if k not in kinds]
        return [k for k in kinds if k != "none"] or kinds

    def _kinds(self, path: Path, function: str, seen: set[str]) -> list[str]:
        if function in seen:
            return []
        seen.add(function)
        place, body = self._find(path, function)
        made = [
            _NAMES.get(k, re.sub(r"(?<!^)(?=[A-Z])", " ", k).lower()) for k in _MADE.findall(body)
        ]
        kinds = [k for k in dict.fromkeys(made) if k]
        for callee in dict.fromkeys(_CALL.findall(body)):
            kinds += [k for k in self._kinds(place, callee, seen) if k not in kinds]
        return kinds

    def _find(self, path: Path, function: str) -> tuple[Path, str]:
        own = self._files[path].bodies.get(function)
        if own is not None:
            return path, own
        for other, file in self._files.items():
            if function in file.bodies:
                return other, file.bodies[function]
        return path, ""


def _functional(name: str) -> str:
    base, dot, overload = name.partition(".")
    return base.removesuffix("_") + dot + overload


def _body(text: str, start: int) -> str:
    """Returns the braces' contents of a function whose parameter list opens before `start`."""
    end, depth = start, 1
    while end < len(text) and depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    opening = re.match(r"\s*\{", text[end:])
    if opening is None:
        return ""
    begin = end = end + opening.end()
    depth = 1
    while end < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[begin : end - 1]
