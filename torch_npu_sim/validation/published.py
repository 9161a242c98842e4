"""From a published row (source, device, kind, setup, metric, value, unit) to a case.

The set-up of a row is text; every publisher has a form of its own. A form is a pattern and a
function that gives the operator, its shapes and attributes. A row that no form fits is not
expressible, and says why.
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch_npu_sim.validation.case import Case
from torch_npu_sim.validation.forms import FORMS, Form
from torch_npu_sim.works.registry import NotExpressibleError

__all__ = ["case_of", "read_published"]

_COLUMNS = ("source", "device", "kind", "setup", "metric", "value", "unit")
# Kinds that are no kernel on one card.
_NOT_ONE_CARD = {"comm", "comm_fused", "e2e"}
_CANN_BENCH = re.compile(r"(?P<case>(?:[\w.]+/)?(?P<name>\w+)#\S+) (?P<json>\{.*\})(?P<rest>.*)$")
_DURATIONS = {"task_duration", "latency", "kernel_time", "time", "wall_time", "kernel_duration"}
_PIPES = {"mac": "cube", "cube": "cube", "mte1": "mte1", "mte2": "mte2", "fixpipe": "fixpipe"}
_TO_US = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
# Distributed operators that wait for other cards.
_DISTRIBUTED = ("all_gather", "all_reduce", "reduce_scatter", "distribute_", "all_to_all")

# Source, start of the set-up, and why such a kernel does other work than its operator asks for.
_OWN_DESIGNS = (("pto-isa", "MXFP4 GEMM", "its cube time is that of 8-bit products, 0.86 PFLOP/s"),)


def read_published(path: Path) -> list[dict[str, str]]:
    """Reads a file in the columns source, device, kind, setup, metric, value, unit.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in _COLUMNS if rows and name not in rows[0]]
    if missing:
        raise ValueError(
            f"measurements {path}: expected the columns {', '.join(_COLUMNS)}; "
            f"{', '.join(missing)} missing"
        )
    return rows


def case_of(row: Mapping[str, str]) -> Case:
    """Returns the case of a published row.

    Raises:
        NotExpressibleError: it is of several cards, or its device, form or metric is unknown.
    """
    if row["kind"] in _NOT_ONE_CARD:
        raise NotExpressibleError("not a kernel on one card")
    form = _form(row)
    chip, overrides = _chip(row, form)
    quantity, value, unit = _quantity(row, form)
    source = row["source"]
    return Case(
        source=source,
        device=row["device"],
        chip=chip,
        kind=row["kind"],
        operator=form.operator,
        shapes=tuple(form.shapes),
        dtypes=tuple(form.dtypes),
        attributes=form.attributes,
        quantity=quantity,
        value=value,
        unit=unit,
        overrides=overrides,
        cold=_is_cold(row),
        single_kernel=_is_single_kernel(row),
        label=form.label or row["setup"],
        own_design=_own_design(row),
    )


def _is_single_kernel(row: Mapping[str, str]) -> bool:
    if _own_design(row):
        return False
    return "SINGLE_KERNEL" in row["setup"] or "cann-bench" not in row["source"]


def _own_design(row: Mapping[str, str]) -> str:
    reasons = (
        why
        for name, setup, why in _OWN_DESIGNS
        if name in row["source"] and row["setup"].startswith(setup)
    )
    return next(reasons, "")


def _is_cold(row: Mapping[str, str]) -> bool:
    """Only these read 192 MiB before each call; the others repeat a call back to back."""
    source = row["source"]
    if "cann-bench" not in source:
        return False
    return "tasks/" in source or ("kernel_bench" in source and "910b3" in source)


def _form(row: Mapping[str, str]) -> Form:
    setup = row["setup"]
    if (found := _CANN_BENCH.match(setup)) is not None:
        return _cann_bench(found)
    for pattern, make in FORMS:
        if (found := re.search(pattern, setup)) is not None:
            return make(found)
    raise NotExpressibleError("no form of set-up fits")


def _cann_bench(found: re.Match[str]) -> Form:
    name = found["name"]
    if any(word in name for word in _DISTRIBUTED):
        raise NotExpressibleError("waits for other cards")
    content = json.loads(found["json"])
    dtypes = [dtype if dtype is not None else "null" for dtype in content["dtype"]]
    return Form(name, content["shape"], dtypes, content.get("attrs", {}), label=found["case"])


def _chip(row: Mapping[str, str], form: Form) -> tuple[str, dict[str, float]]:
    device, setup = row["device"], row["setup"]
    overrides = dict(form.overrides)
    if re.search(r"\bx\s?\d+|^\d+x ", device):
        raise NotExpressibleError("several cards")
    if "950PR" in device:
        wide = "32 AIC" in device + setup or "(a5" in setup or "958" in device
        wide = wide or "asc-devkit" in row["source"] or "pto-isa" in row["source"]
        return ("ascend950pr_128g" if wide else "ascend950pr"), overrides
    if "950DT" in device:
        return "ascend950dt", overrides
    if "910B3" in device:
        return "ascend910b2", {"cube_cores": 20, "vector_cores": 40} | overrides
    if "910B2" in device or re.search(r"\bA2\b", device):
        return "ascend910b2", overrides
    if re.search(r"\bA3\b", device) or "910C" in device:
        return "ascend910c", overrides
    for word in ("H20", "H100", "H800", "A100"):
        if re.match(rf"{word}\b", device):
            return word.lower(), overrides
    raise NotExpressibleError(f"no preset for {device}")


def _quantity(row: Mapping[str, str], form: Form) -> tuple[str, float, str]:
    """Returns (quantity, value, unit): throughputs become durations, ratios shares in percent."""
    metric, unit, value = row["metric"], row["unit"], float(row["value"])
    pipe = _PIPES.get(metric.removesuffix("_time").removesuffix("_ratio"))
    if pipe is not None and unit in _TO_US:
        return pipe, value * _TO_US[unit], "us"
    if pipe is not None and unit == "%":
        return f"share:{pipe}", value, "%"
    if metric in _DURATIONS and unit in _TO_US:
        return "duration", value * _TO_US[unit], "us"
    if unit == "TFLOPS" and form.flops > 0:
        return "duration", form.flops / value * 1e-6, "us"
    if unit == "GB/s" and form.bytes > 0:
        return "duration", form.bytes / value * 1e-3, "us"
    if unit == "G elem/s" and form.elements > 0:
        return "duration", form.elements / value * 1e-3, "us"
    raise NotExpressibleError(f"metric {metric} in {unit}")
