"""Runs two forms of a model's layer beside each other: do they agree, and where does time go?"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from torch_npu_sim import npu
from torch_npu_sim.report import Trace, trace

__all__ = ["Spent", "compare", "costliest", "relative_difference", "spent_by_part", "table"]

REST = "all else"


def relative_difference(a: torch.Tensor, b: torch.Tensor, share: float = 1.0) -> float:
    """Returns the norm of the difference over the norm of b, tokens [batch, tokens, ...].

    With a `share` below 1, of the tokens that differ least: rounding makes a router choose other
    experts for a few, where two are nearly as good.
    """
    tokens = (a.float() - b.float()).flatten(2).norm(dim=2).flatten()
    best = tokens.argsort()[: max(1, int(share * tokens.numel()))]
    reference = b.float().flatten(2).norm(dim=2).flatten()
    return float(tokens[best].norm() / reference[best].norm())


@dataclass
class Spent:
    """What a part of a layer took."""

    kernels: int
    busy_us: float  # of the card, all kernels together
    host_us: float  # until the host had launched them

    @classmethod
    def of(cls, trace: Trace) -> "Spent":
        """Counts a trace."""
        return cls(len(trace.kernels), trace.device_us, trace.host_us)

    def __sub__(self, other: "Spent") -> "Spent":
        """What is left without a part of it."""
        return Spent(
            self.kernels - other.kernels,
            self.busy_us - other.busy_us,
            self.host_us - other.host_us,
        )


@contextmanager
def _watched(parts: dict[str, nn.Module]) -> Iterator[dict[str, Trace]]:
    """Traces each call of the modules; a further call of one replaces its trace."""
    traces: dict[str, Trace] = {}
    hooks = []
    for name, module in parts.items():

        def begin(_module: nn.Module, _args: Any, name: str = name) -> None:
            traces[name] = trace().__enter__()

        def end(_module: nn.Module, _args: Any, _out: Any, name: str = name) -> None:
            traces[name].__exit__(None, None, None)

        hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield traces
    finally:
        for hook in hooks:
            hook.remove()


def spent_by_part(
    parts: dict[str, nn.Module], traces: dict[str, Trace], whole: Trace
) -> dict[str, Spent]:
    """Returns what each part took without those inside it, which stand behind it, and all else."""
    total = {name: Spent.of(traced) for name, traced in traces.items()}
    own, rest = dict(total), Spent.of(whole)
    for name, spent in total.items():
        outside = [n for n in total if n != name and parts[name] in set(parts[n].modules())]
        if outside:
            own[outside[-1]] -= spent
        else:
            rest -= spent
    return own | {REST: rest}


def table(slow: dict[str, Spent], fast: dict[str, Spent]) -> str:
    """Returns kernels, busy and host microseconds of each part in both forms."""
    lines = [f"{'':24}{'op by op':^28}{'fused':^28}"]
    lines.append(f"{'part':24}" + f"{'kernels':>8}{'busy us':>10}{'host us':>10}" * 2)
    for name in slow:
        pair = (slow[name], fast.get(name, Spent(0, 0, 0)))
        cells = (f"{s.kernels:8}{s.busy_us:10.1f}{s.host_us:10.1f}" for s in pair)
        lines.append(f"{name:24}" + "".join(cells))
    return "\n".join(lines)


def costliest(name: str, trace: Trace, top: int = 8) -> str:
    """Returns kernels and microseconds of the operators that keep the card busiest."""
    count: dict[str, int] = defaultdict(int)
    busy: dict[str, float] = defaultdict(float)
    for kernel in trace.kernels:
        count[kernel.op] += 1
        busy[kernel.op] += kernel.duration_us
    lines = [f"{name}: {trace.total_us:.0f} us"]
    for op in sorted(busy, key=lambda op: -busy[op])[:top]:
        lines.append(f"  {op:50} {count[op]:6} {busy[op]:10.1f} us")
    return "\n".join(lines)


def _traced(
    layer: Any, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, Trace, dict[str, Spent]]:
    """Runs a step after what all layers share has been prepared, and waits for the card."""
    parts = layer.parts()
    with torch.no_grad():
        step = layer.prepare(*inputs[0].shape[:2])
        npu.synchronize()
        with _watched(parts) as traces, trace() as whole:
            out = layer(*inputs, step)
            npu.synchronize()
    return out, whole, spent_by_part(parts, traces, whole)


def compare(
    op_by_op: Any,
    fused: Any,
    inputs: tuple[torch.Tensor, ...],
    limit: float,
    share: float = 1.0,
) -> None:
    """Runs a prompt and a decoding step of one token through both forms and prints the comparison.

    A form has `prepare(batch, tokens)`, which answers what all layers of a model share in a step,
    is called with inputs [batch, tokens, ...] and that, and names modules in `parts()`.

    Raises:
        AssertionError: the `relative_difference` of the results is not below `limit`.
    """
    most = inputs[0].shape[1]
    for name, part in (("prompt", slice(0, most - 1)), ("decoding step", slice(most - 1, most))):
        given = tuple(tensor[:, part] for tensor in inputs)
        want, slow, slow_parts = _traced(op_by_op, given)
        got, fast, fast_parts = _traced(fused, given)
        difference = relative_difference(got, want, share)
        tokens = given[0].shape[1]
        of_tokens = "" if share == 1 else f" over {share:.0%} of the tokens"
        print(f"\n{name} of {tokens} tokens: relative difference {difference:.1e}{of_tokens}")
        print(costliest("op by op", slow))
        print(costliest("fused", fast))
        print(table(slow_parts, fast_parts))
        print(f"op by op takes {slow.total_us / fast.total_us:.1f} times as long")
        if not difference < limit:
            raise AssertionError(f"expected a difference below {limit}, got {difference}")
    print("\nBoth blocks agree.")
