"""Fused operators that a run could have used, and the time each would save."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from torch_npu_sim.report.fusion_patterns import PATTERNS, FusedCall, Match, Stream, base_of
from torch_npu_sim.report.kernel import Kernel
from torch_npu_sim.report.model_cost import alone_us, eager_call_us
from torch_npu_sim.works.call import Call
from torch_npu_sim.works.call import Kernel as Described
from torch_npu_sim.works.registry import NotExpressibleError, describe_call

__all__ = ["Opportunity", "opportunities"]


@dataclass
class Opportunity:
    """A fused operator at one size, and all places of a run that it would serve.

    Times are simulated microseconds of all places together. `fused_us` is the model's time of the
    fused operator on a cold L2, so the saving is rather too small where its inputs lie in L2.
    """

    fusion: str  # "add + RMS norm"
    operator: str  # "npu_add_rms_norm"
    shape: str  # of the fused operator's operands
    places: int = 0
    kernels: int = 0  # that it would replace
    now_us: float = 0.0
    fused_us: float = 0.0
    fused_kernels: int = 0
    refusal: str = ""  # why the operator does not take these operands
    first_us: float = 0.0  # start of the first place, in the trace

    @property
    def saved_us(self) -> float:
        """Time that the card would save; 0 if the fused operator is not faster or not there."""
        return 0.0 if self.refusal else max(self.now_us - self.fused_us, 0.0)

    @property
    def saved_host_us(self) -> float:
        """Time of launches that the host would save."""
        fewer = self.kernels - self.fused_kernels
        return 0.0 if self.refusal else fewer * eager_call_us()


def opportunities(kernels: list[Kernel]) -> list[Opportunity]:
    """Returns what could be fused, the largest saving first."""
    found: dict[FusedCall, Opportunity] = {}
    for match in _matches(kernels):
        known = found.get(match.call)
        if known is None:
            known = found[match.call] = _opportunity(match)
        known.places += 1
        known.kernels += len(match.kernels)
        known.now_us += sum(kernel.duration_us for kernel in match.kernels)
    for opportunity in found.values():
        opportunity.fused_us *= opportunity.places
        opportunity.fused_kernels *= opportunity.places
    return sorted(found.values(), key=lambda o: (-o.saved_us - o.saved_host_us, o.fusion, o.shape))


def _matches(kernels: list[Kernel]) -> Iterator[Match]:
    streams: defaultdict[tuple[int, int], list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        streams[kernel.device, kernel.stream].append(kernel)
    for chain in streams.values():
        names = [base_of(kernel.op) for kernel in chain]
        at = 0
        while at < len(chain):
            tried = (pattern(Stream(chain, names, at)) for pattern in PATTERNS.get(names[at], ()))
            match = next((m for m in tried if m is not None), None)
            if match is not None:
                yield match
            at = at + 1 if match is None else match.end


def _opportunity(match: Match) -> Opportunity:
    """Describes one call of the fused operator and asks the model for its time."""
    call = match.call
    shape = ", ".join(str(list(size)) for size in call.shapes)
    shape += f" {str(call.dtype).removeprefix('torch.')}"
    name = "npu_fusion_attention" if call.operator == "flash_attention" else call.operator
    found = Opportunity(match.fusion, name, shape, first_us=match.kernels[0].start_us)
    try:
        works = [kernel.work for kernel in _kernels_of(call)]
    except (NotExpressibleError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        found.refusal = (str(error).splitlines() or [type(error).__name__])[0]
        return found
    found.fused_us = alone_us(works)
    found.fused_kernels = len(works)
    return found


def _kernels_of(call: FusedCall) -> list[Described]:
    """Returns the kernels of the call, as the operator's own description says."""
    operands = [torch.empty(size, dtype=call.dtype, device="meta") for size in call.shapes]
    if call.operator == "flash_attention":
        return describe_call(call.operator, operands, {"inputLayout": "BNSD"})
    options: dict[str, Any] = {}
    if call.operator == "npu_fused_matmul":
        x, weight, bias = operands
        operands = [x, weight.t().contiguous().t() if call.number else weight]
        options = {"bias": bias, "fused_op_type": "gelu_erf"}
    elif call.operator == "npu_mhc_sinkhorn":
        options = {"num_iters": call.number}
    described = Call(call.operator, operands, {})
    described.torch(getattr(torch.ops.npu, call.operator), *operands, **options)
    return described.kernels
