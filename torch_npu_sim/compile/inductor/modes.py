"""Modes of torch.compile that mean something else on npu than they say."""

import functools
import warnings

__all__ = ["GRAPHS_WARNING", "warn_of_graphs"]

GRAPHS_WARNING = (
    'torch.compile on npu: mode="reduce-overhead" (and "max-autotune") replay captured graphs, '
    "which the simulated card has not yet; each kernel is launched by itself, as by default"
)


@functools.cache
def warn_of_graphs() -> None:
    """Says once that there are no graphs; called by generated code, so that cached code warns."""
    warnings.warn(GRAPHS_WARNING, stacklevel=2)
