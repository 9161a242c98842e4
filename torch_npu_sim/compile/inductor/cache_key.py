"""Compiled code that was cached by another version of this package must not be reused."""

from functools import cache
from pathlib import Path

from torch._inductor.custom_graph_pass import CustomGraphModulePass, get_hash_for_files
from torch.fx import GraphModule

__all__ = ["CacheKey"]


class CacheKey(CustomGraphModulePass):
    """A pass that changes nothing; its identity is part of the key of Inductor's caches.

    Generated code names functions of this package and holds instruction counts made by it.
    """

    def __call__(self, graph: GraphModule) -> None:
        """Leaves the graph as it is."""

    def uuid(self) -> bytes:
        """Returns a hash of this folder's sources."""
        return _sources_hash()


@cache
def _sources_hash() -> bytes:
    files = tuple(str(path) for path in sorted(Path(__file__).parent.glob("*.py")))
    return get_hash_for_files(files)
