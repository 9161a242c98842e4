"""The dynamo backends of torch_npu, `npu` and `npugraph_ex`: captured, and run as captured.

On a card they compile whole graphs. Here the operators of the graph run one by one, with eager's
values and eager's times; that is said once.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["register", "run_captured"]


@functools.cache
def _say_once() -> None:
    warnings.warn(
        "torch_npu_sim: graphs are not optimised yet; the captured operators run one by one, "
        "with the times of eager execution",
        stacklevel=4,
    )


def run_captured(
    graph: torch.fx.GraphModule, example_inputs: list[Any], **options: Any
) -> Callable[..., Any]:
    """Returns the captured graph itself. Any option is accepted, and none has an effect."""
    del example_inputs, options
    _say_once()
    return graph.forward


def register() -> None:
    """Makes both known to `torch.compile`. Called when torch._dynamo has been imported."""
    from torch._dynamo.backends.registry import register_backend

    for name in ("npu", "npugraph_ex"):
        register_backend(run_captured, name=name)
