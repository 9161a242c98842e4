"""Reads one module: names, strings and comparisons that have to do with CUDA."""

import ast
import re
from collections.abc import Iterator

from torch_npu_sim import npu
from torch_npu_sim.contrib.redirected_names import CUDA_MODULES, MODULE_METHODS, TENSOR_METHODS
from torch_npu_sim.migrate import advice, host_operators
from torch_npu_sim.migrate.findings import Finding, Kind
from torch_npu_sim.migrate.fusions import fusions
from torch_npu_sim.migrate.names import Names

__all__ = ["read_module"]

Found = tuple[ast.AST, Kind, str]

_DEVICE = re.compile(r"cuda(:\d+)?:?")
_TYPE = re.compile(r"torch\.cuda\.\w+Tensor")
_LONGEST = 100  # characters of code in a report
# Names of torch.cuda that transfer_to_npu sets beside those of torch.npu.
_ALSO_REDIRECTED = {"CUDAGraph", "amp", "memory", "random", "streams", "default_generators"}
_GRAPHS = {"CUDAGraph", "graph", "make_graphed_callables", "graph_pool_handle"}


def read_module(path: str, source: str) -> list[Finding]:
    """Returns what is found in a module's source.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    found = [*_Reader(tree).read()]
    lines = source.splitlines()
    findings = {
        Finding(
            path=path,
            line=getattr(node, "lineno", 1),
            column=getattr(node, "col_offset", 0) + 1,
            kind=kind,
            code=_code(node, lines),
            message=message,
        )
        for node, kind, message in found
    }
    return sorted(findings)


def _code(node: ast.AST, lines: list[str]) -> str:
    line = lines[getattr(node, "lineno", 1) - 1].strip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


class _Reader:
    """The rules, over one tree."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.names = Names(tree)
        # Parts of longer names, and strings of documentation: they are not looked at again.
        self.done: set[int] = set()

    def read(self) -> Iterator[Found]:
        self._skip_documentation()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from self._import(node)
            elif isinstance(node, ast.Compare):
                yield from self._compare(node)
            elif isinstance(node, ast.Call):
                yield from self._call(node)
        # Calls and comparisons have marked what they cover; what is left is read piece by piece.
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                yield from self._name(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from self._string(node)
        for place, message in fusions(self.tree, self.names):
            yield place, Kind.FUSION, message

    def _skip_documentation(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                self.done.add(id(node.value))

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[Found]:
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif node.level:
            return
        else:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            library = _longest(module, advice.LIBRARIES)
            if library is not None:
                yield node, Kind.EXTENSION, f"{library}: {advice.LIBRARIES[library]}"
            elif isinstance(node, ast.ImportFrom):
                yield from self._meaning(node, module)

    def _compare(self, node: ast.Compare) -> Iterator[Found]:
        for side in (node.left, *node.comparators):
            for place, text in _strings(side):
                if _DEVICE.fullmatch(text) or text == "nccl":
                    self.done.add(id(place))
                    yield (
                        node,
                        Kind.NOT_REDIRECTED,
                        f'a comparison with "{text}" is false: the name is '
                        f"{'hccl' if text == 'nccl' else 'npu'} then",
                    )

    def _call(self, node: ast.Call) -> Iterator[Found]:
        name = self.names.of(node.func)
        if isinstance(node.func, ast.Attribute):
            yield from self._method(node, node.func.attr, name)
        if name in advice.EXTENSION_BUILDERS:
            self.done.add(id(node.func))
            yield node, Kind.EXTENSION, advice.EXTENSION_BUILDERS[name]
        if name in host_operators.FUNCTIONS or name in host_operators.MODULES:
            self.done.add(id(node.func))
            yield node, Kind.HOST_OPERATOR, f"{name} runs on the host, with copies there and back"
        yield from self._arguments(node, name)

    def _method(self, node: ast.Call, method: str, name: str | None) -> Iterator[Found]:
        if name is not None:
            return
        if method == "cuda":
            yield node, Kind.REDIRECTED, ".cuda() moves to npu"
        if method in host_operators.METHODS:
            yield node, Kind.HOST_OPERATOR, f".{method}() runs on the host, if it is a tensor's"
        if method == "type":
            for place, text in _strings(node):
                if _TYPE.fullmatch(text):
                    self.done.add(id(place))
                    message = "a type by its name is not redirected: use .to(device, dtype)"
                    yield node, Kind.NOT_REDIRECTED, message

    def _arguments(self, node: ast.Call, name: str | None) -> Iterator[Found]:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        for value in values:
            for place, text in _strings(value):
                if id(place) in self.done:
                    continue
                if _DEVICE.fullmatch(text):
                    self.done.add(id(place))
                    yield node, *_of_device(text, name or _method_of(node))
                elif "nccl" in text.split(":") or text == "nccl":
                    self.done.add(id(place))
                    yield node, Kind.REDIRECTED, "the backend nccl is hccl"

    def _name(self, node: ast.Attribute | ast.Name) -> Iterator[Found]:
        if id(node) in self.done:
            return
        name = self.names.of(node)
        if name is None:
            if isinstance(node, ast.Attribute) and node.attr == "is_cuda":
                yield node, Kind.REDIRECTED, ".is_cuda asks for npu"
            return
        inner = node
        while isinstance(inner, ast.Attribute):
            inner = inner.value  # type: ignore[assignment]
            self.done.add(id(inner))
        yield from self._meaning(node, name)

    def _meaning(self, node: ast.AST, name: str) -> Iterator[Found]:
        """Yields what becomes of a full name."""
        if name.startswith("torch.cuda."):
            yield node, *_of_cuda(name)
            return
        for table in (advice.WITHOUT_EFFECT, advice.NAMES):
            known = _longest(name, table)
            if known is not None:
                yield node, Kind.NOT_REDIRECTED, f"{known}: {table[known]}"
        if name.startswith("torch.profiler.ProfilerActivity.CUDA"):
            yield node, Kind.REDIRECTED, "ProfilerActivity.CUDA is the card's"

    def _string(self, node: ast.Constant) -> Iterator[Found]:
        if id(node) in self.done:
            return
        text = str(node.value)
        word = text.split()[0] if text.split() else ""
        if word in advice.VARIABLES:
            yield node, Kind.NOT_REDIRECTED, f"{word}: {advice.VARIABLES[word]}"
        elif _DEVICE.fullmatch(text):
            yield node, *_of_device(text, None)


def _method_of(call: ast.Call) -> str | None:
    return f".{call.func.attr}" if isinstance(call.func, ast.Attribute) else None


def _of_device(text: str, taker: str | None) -> tuple[Kind, str]:
    """Returns what becomes of the name of a device that a function or a .method takes."""
    if taker in advice.TAKES_NO_CUDA:
        return Kind.NOT_REDIRECTED, f'{taker} takes "{text}" as it is: pass npu'
    is_method = taker is not None and taker[1:] in (*TENSOR_METHODS, *MODULE_METHODS)
    if is_method or (taker or "").startswith("torch."):
        return Kind.REDIRECTED, f'"{text}" as a device is npu'
    return Kind.REDIRECTED, f'"{text}" is npu where a listed function of torch takes it'


def _longest(name: str, table: dict[str, str]) -> str | None:
    """Returns the key of which `name` is, or is below, or None."""
    matching = [key for key in table if name == key or name.startswith(key + ".")]
    return max(matching, key=len, default=None)


def _strings(node: ast.AST) -> list[tuple[ast.Constant, str]]:
    """Returns the strings that a value is: itself, in a list or a dict, or of an f-string."""
    if isinstance(node, ast.Call):
        return [text for value in node.args for text in _strings(value)]
    if isinstance(node, ast.IfExp):
        return _strings(node.body) + _strings(node.orelse)
    if isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.Set | ast.Dict):
        parts = ast.iter_child_nodes(node)
        return [text for part in parts for text in _strings(part)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [(node, node.value)]
    return []


def _of_cuda(name: str) -> tuple[Kind, str]:
    """Returns what becomes of a name below torch.cuda."""
    below = name.removeprefix("torch.cuda.")
    first = below.partition(".")[0]
    last = below.rpartition(".")[2]
    if last in advice.CUDA_ADVICE or first in advice.CUDA_ADVICE:
        known = first if first in advice.CUDA_ADVICE else last
        return Kind.NOT_REDIRECTED, f"torch.cuda.{known}: {advice.CUDA_ADVICE[known]}"
    if last in _GRAPHS:
        return Kind.REDIRECTED, f"{name} is torch.npu's; the simulator has no graphs yet"
    if first in npu.__all__ or first in _ALSO_REDIRECTED or below in CUDA_MODULES:
        return Kind.REDIRECTED, f"{name} is torch.npu.{below}"
    return Kind.NOT_REDIRECTED, f"{name} has no counterpart in torch.npu"
