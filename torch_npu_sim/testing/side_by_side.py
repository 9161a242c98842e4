"""Runs two forms of a model's layer beside each other: do they agree, and where does time go?"""

from collections import defaultdict
from typing import Any

import torch

from torch_npu_sim.report import Trace, trace

__all__ = ["compare", "relative_difference", "table"]


def relative_difference(a: torch.Tensor, b: torch.Tensor, share: float = 1.0) -> float:
    """Returns the norm of the difference over the norm of b, tokens [batch, tokens, ...].

    With a `share` below 1, of the tokens that differ least: rounding makes a router choose other
    experts for a few, where two are nearly as good.
    """
    tokens = (a.float() - b.float()).flatten(2).norm(dim=2).flatten()
    best = tokens.argsort()[: max(1, int(share * tokens.numel()))]
    reference = b.float().flatten(2).norm(dim=2).flatten()
    return float(tokens[best].norm() / reference[best].norm())


def table(name: str, trace: Trace, top: int = 12) -> str:
    """Returns kernels and microseconds of each operator, costliest first."""
    count: dict[str, int] = defaultdict(int)
    busy: dict[str, float] = defaultdict(float)
    for kernel in trace.kernels:
        count[kernel.op] += 1
        busy[kernel.op] += kernel.duration_us
    lines = [f"{name}: {trace.total_us:.0f} us; {len(trace.kernels)} kernels"]
    lines[0] += f", busy {trace.device_us:.0f} us"
    for op in sorted(busy, key=lambda op: -busy[op])[:top]:
        lines.append(f"  {op:50} {count[op]:6} {busy[op]:10.1f} us")
    return "\n".join(lines)


def _traced(layer: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, Trace]:
    """Runs a step after what all layers share has been prepared, and waits for the card."""
    with torch.no_grad():
        step = layer.prepare(*inputs[0].shape[:2])
        torch.npu.synchronize()
        with trace() as traced:
            out = layer(*inputs, step)
            torch.npu.synchronize()
    return out, traced


def compare(
    op_by_op: Any,
    fused: Any,
    inputs: tuple[torch.Tensor, ...],
    limit: float,
    share: float = 1.0,
) -> None:
    """Runs a prompt and a decoding step of one token through both forms and prints the comparison.

    A form has `prepare(batch, tokens)`, which answers what all layers of a model share in a step,
    and is called with inputs [batch, tokens, ...] and that.

    Raises:
        AssertionError: the `relative_difference` of the results is not below `limit`.
    """
    most = inputs[0].shape[1]
    for name, part in (("prompt", slice(0, most - 1)), ("decoding step", slice(most - 1, most))):
        given = tuple(tensor[:, part] for tensor in inputs)
        want, slow = _traced(op_by_op, given)
        got, fast = _traced(fused, given)
        difference = relative_difference(got, want, share)
        tokens = given[0].shape[1]
        of_tokens = "" if share == 1 else f" over {share:.0%} of the tokens"
        print(f"\n{name} of {tokens} tokens: relative difference {difference:.1e}{of_tokens}")
        print(table("op by op", slow))
        print(table("fused", fast))
        print(f"op by op takes {slow.total_us / fast.total_us:.1f} times as long")
        if not difference < limit:
            raise AssertionError(f"expected a difference below {limit}, got {difference}")
    print("\nBoth blocks agree.")
