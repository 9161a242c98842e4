"""Shapes and dtypes of a kernel's operands as kernel_details.csv has them.

A product's are those of its work. Other kernels' inputs are those of the operator that launched
them, where the profile records shapes; their outputs are not known. Storage formats never are.
"""

from collections.abc import Iterable, Sequence

from torch_npu_sim.profiler.recording import HostOperator, Task

__all__ = ["OPERAND_HEADERS", "operands"]

OPERAND_HEADERS = [
    *("Input Shapes", "Input Data Types", "Input Formats"),
    *("Output Shapes", "Output Data Types", "Output Formats"),
]

# The names of CANN's data types.
_OF_FORMAT = {
    "fp64": "DOUBLE",
    "fp32": "FLOAT",
    "hf32": "FLOAT",
    "fp16": "FLOAT16",
    "bf16": "DT_BF16",
    "int64": "INT64",
    "int32": "INT32",
    "int16": "INT16",
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "BOOL",
    "complex64": "COMPLEX64",
    "complex128": "COMPLEX128",
}
_OF_TORCH = {
    "double": "DOUBLE",
    "float": "FLOAT",
    "c10::Half": "FLOAT16",
    "c10::BFloat16": "DT_BF16",
    "long": "INT64",
    "long int": "INT64",
    "int": "INT32",
    "short": "INT16",
    "short int": "INT16",
    "signed char": "INT8",
    "unsigned char": "UINT8",
    "bool": "BOOL",
    "c10::complex<float>": "COMPLEX64",
    "c10::complex<double>": "COMPLEX128",
}


def operands(task: Task) -> dict[str, str]:
    """Returns what is known of the operands of a kernel."""
    if task.kernel.name == "matmul":
        return _of_product(task)
    return _of_operator(task.operator) if task.operator is not None else {}


def _of_product(task: Task) -> dict[str, str]:
    work = task.kernel.fields
    batch = [] if work["batch"] == 1 else [work["batch"]]
    right = [] if work["b_shared"] else batch
    m, n, k = work["m"], work["n"], work["k"]
    found = {
        "Input Shapes": _shapes([[*batch, m, k], [*right, k, n]]),
        "Output Shapes": _shapes([[*batch, m, n]]),
    }
    names = [_OF_FORMAT.get(work[each]) for each in ("a", "b", "out")]
    if all(names):
        found["Input Data Types"] = f"{names[0]};{names[1]}"
        found["Output Data Types"] = str(names[2])
    return found


def _of_operator(operator: HostOperator) -> dict[str, str]:
    tensors = [
        (shape, _OF_TORCH[dtype])
        for shape, dtype in zip(operator.shapes, operator.dtypes, strict=False)
        if dtype in _OF_TORCH
    ]
    if not tensors:
        return {}
    return {
        "Input Shapes": _shapes(shape for shape, _ in tensors),
        "Input Data Types": ";".join(dtype for _, dtype in tensors),
    }


def _shapes(shapes: Iterable[Sequence[int]]) -> str:
    """Returns shapes as msprof writes them, in quotes: "16,32;32,8"."""
    return '"' + ";".join(",".join(map(str, shape)) for shape in shapes) + '"'
