"""``torch.npu.npugraph_ex``: compiled graphs. Here graphs run as captured."""

from typing import Any

from torch_npu_sim.compile.graph_backends import run_captured
from torch_npu_sim.npu.npugraph_ex import inference, scope

__all__ = ["compile_fx", "inference", "register_replacement", "scope"]


def compile_fx(graph: Any, example_inputs: Any, options: Any = None) -> Any:
    """Returns the captured graph, which runs its operators one by one."""
    del options
    return run_captured(graph, example_inputs)


def register_replacement(*_args: Any, **_kwargs: Any) -> None:
    """Accepts a pattern and what to put in its place. Graphs are not rewritten."""
