"""Caches of keys and values, and sampling."""

import torch

from torch_npu_sim.works.call import Call, bytes_of, format_of
from torch_npu_sim.works.registry import operator

__all__: list[str] = []

_FRACTAL_BYTES = 32  # one row of a fractal block of the NZ layout


@operator("scatter_pa_kv_cache")
def scatter_pa_kv_cache(call: Call) -> None:
    """Writes each token's keys and values to its slot of a paged cache."""
    keys, slots, values = call.tensor(0), call.tensor(2), call.tensor(3)
    moved = bytes_of(keys, values)
    rows = keys.shape[0] + values.shape[0]
    fractal = "NZ" in str(call.attribute("cache_mode", ""))
    item = _FRACTAL_BYTES if fractal else moved // max(rows, 1)
    work = {
        "kind": "gather",
        "items": moved // max(item, 1),
        "item": item,
        "index": bytes_of(slots),
        "written": moved,
        "read": moved,
        "scatter": True,
    }
    call.launch(work, [keys, values, slots], [call.tensor(1), call.tensor(4)])


@operator("top_k_top_p_sample_v2", "top_k_top_p_sample")
def top_k_top_p_sample(call: Call) -> None:
    """Sorts each row's best candidates, softmax, running sum, and one draw a row."""
    logits = call.tensor(0)
    rows, columns = logits.shape
    best = call.empty([rows, int(call.attribute("ks_max", 1024))], torch.float32)
    picked = call.empty([rows], torch.int64)
    call.launch(
        {
            "kind": "sort",
            "rows": rows,
            "columns": columns,
            "k": min(best.shape[-1], columns),
            "format": format_of(logits),
            "written": bytes_of(best),
        },
        [logits],
        [best],
    )
    call.rowwise(
        [best], [picked], rows=rows, columns=best.shape[-1], linear=8, special=2, reductions=3
    )
