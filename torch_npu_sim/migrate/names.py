"""What names in a module mean, from its imports: `F.silu` is torch.nn.functional.silu."""

import ast

__all__ = ["Names", "dotted"]


def dotted(node: ast.expr) -> str | None:
    """Returns `a.b.c` for such an expression, or None for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


class Names:
    """The imported names of a module."""

    def __init__(self, tree: ast.Module) -> None:
        """Reads every import, also those inside functions."""
        self._meaning: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    self._meaning[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                for alias in node.names:
                    self._meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def of(self, node: ast.expr) -> str | None:
        """Returns the full name of an expression that begins with an imported name, or None."""
        written = dotted(node)
        if written is None:
            return None
        first, _, rest = written.partition(".")
        meaning = self._meaning.get(first)
        if meaning is None:
            return None
        return f"{meaning}.{rest}" if rest else meaning
