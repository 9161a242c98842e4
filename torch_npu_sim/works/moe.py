"""Mixture of experts: gating, moving tokens to their experts, and bringing results back."""

import torch

from torch_npu_sim.works.call import Call, bytes_of, format_of
from torch_npu_sim.works.matmul import even_groups
from torch_npu_sim.works.registry import operator

__all__: list[str] = []


@operator("moe_gating_top_k_softmax", "moe_gating_top_k")
def gating(call: Call) -> None:
    """Softmax over experts and the k best of each token."""
    x, k = call.tensor(0), int(call.attribute("k", 1))
    tokens, experts = x.numel() // x.shape[-1], x.shape[-1]
    outs = [call.empty([tokens, k], x.dtype)]
    outs += [call.empty([tokens, k], torch.int32) for _ in range(2)]
    call.rowwise(
        call.present(),
        outs,
        rows=tokens,
        columns=experts,
        linear=5 + 2 * k,
        special=1,
        reductions=2 + k,
    )


@operator("moe_re_routing")
def re_routing(call: Call) -> None:
    """Copies tokens that lie by rank into the order of experts."""
    tokens = call.tensor(0)
    scales = call.optional(2)
    index = call.empty([tokens.shape[0]], torch.int32)
    outs = [call.empty(tokens.shape, tokens.dtype), index]
    if scales is not None:
        outs.append(call.empty(scales.shape, scales.dtype))
    reads = [tokens, call.tensor(1), scales]
    # Every core adds up the whole table of ranks by experts to find its places.
    _move(call, tokens, reads, outs, items=tokens.shape[0], scalars=call.tensor(1).numel())


@operator("moe_finalize_routing", "moe_finalize_routing_v2")
def finalize_routing(call: Call) -> None:
    """Adds each token's k expert rows by their weights, with residuals and an expert bias."""
    rows = call.tensor(0)
    index = call.tensor(1)
    shape = next((t.shape for t in (call.optional(2), call.optional(3)) if t is not None), None)
    k = call.tensor(6).shape[-1] if len(call.inputs) > 6 else 1
    tokens = shape[0] if shape is not None else index.numel() // k
    out = call.empty([tokens, rows.shape[-1]], rows.dtype)
    item = rows.shape[-1] * rows.element_size()
    items = index.numel()
    others = [call.optional(i) for i in (2, 3, 4, 5)]
    work = {
        "kind": "gather",
        "items": items,
        "item": item,
        "index": bytes_of(index, call.optional(6)),
        "written": bytes_of(out),
        "read": items * item + bytes_of(*others),
        "table": bytes_of(rows),
        "one_by_one": True,
    }
    call.launch(work, call.present(), [out])


@operator("ai_infra_moe_init_routing_v3", "moe_init_routing_v2", "moe_init_routing_v3")
def init_routing(call: Call) -> None:
    """Sorts the choices by expert, then copies each chosen token's row to its place."""
    x, chosen = call.tensor(0), call.tensor(1)
    flat = chosen.numel()
    order = call.empty([flat], torch.int32)
    call.launch(
        {
            "kind": "sort",
            "rows": 1,
            "columns": flat,
            "k": flat,
            "format": format_of(chosen),
            "written": bytes_of(order),
        },
        [chosen],
        [order],
    )
    items = min(int(call.attribute("active_num", 0)) or flat, flat)
    quantizes = call.attribute("quant_mode", -1) != -1
    dtype = torch.int8 if quantizes else x.dtype
    out = call.empty([items, x.shape[-1]], dtype)
    _move(call, x, [x, order], [out], items=items)


def _move(
    call: Call,
    table: torch.Tensor,
    reads: list[torch.Tensor | None],
    writes: list[torch.Tensor],
    *,
    items: int,
    scalars: int = 0,
) -> None:
    item = table.shape[-1] * table.element_size()
    work = {
        "kind": "gather",
        "items": items,
        "item": item,
        "index": bytes_of(*reads[1:]),
        "written": bytes_of(*writes),
        "read": items * item,
        "table": bytes_of(table),
        "scalars": scalars,
    }
    call.launch(work, reads, writes)


@operator("moe_ffn")
def moe_ffn(call: Call) -> None:
    """Two grouped products with SwiGLU between; rows spread evenly over the experts."""
    x, up, down = (call.tensor(i) for i in range(3))
    rows, hidden = x.shape
    experts, _, wide = up.shape
    inner = call.empty([rows, wide], torch.bfloat16)
    gated = call.empty([rows, wide // 2], x.dtype)
    out = call.empty([rows, hidden], torch.bfloat16)
    base = {
        "kind": "grouped_matmul",
        "rows": even_groups(rows, experts),
        "a": format_of(x),
        "b": format_of(up),
        "out": "bf16",
    }
    call.launch(base | {"n": wide, "k": hidden}, [x, up], [inner])
    call.elementwise([inner], [gated], linear=8, special=2)
    call.launch(base | {"n": hidden, "k": wide // 2}, [gated, down], [out])
