"""Runs a module's `install()` once another module has been imported, by whomever."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["when_imported"]


def when_imported(awaited: str, installer: str) -> None:
    """Calls `install()` of module `installer` right after `awaited` has been imported.

    If it is imported already, that is now. An error of `install()` reaches the importer.
    """
    module = sys.modules.get(awaited)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        _install(installer)
        return
    sys.meta_path.insert(0, _Watch(awaited, installer))


def _install(installer: str) -> None:
    importlib.import_module(installer).install()


class _Watch(MetaPathFinder):
    """Finds nothing itself; lets the other finders find `awaited`, and extends its loader."""

    def __init__(self, awaited: str, installer: str) -> None:
        self.awaited = awaited
        self.installer = installer

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.awaited:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenInstall(spec.loader, self.installer)
        return spec


class _ThenInstall(Loader):
    """The module's own loader, then the installation."""

    def __init__(self, loader: Loader, installer: str) -> None:
        self.loader = loader
        self.installer = installer

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Tools that look for a module's source ask its loader, so it gets its own one back.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        _install(self.installer)
