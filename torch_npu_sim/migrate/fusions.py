"""Patterns of code for which the card has one kernel."""

import ast
from collections.abc import Iterator

from torch_npu_sim.migrate.names import Names

__all__ = ["OPTIMIZERS", "fusions"]

OPTIMIZERS = {
    "torch.optim.Adadelta": "NpuFusedAdadelta",
    "torch.optim.Adam": "NpuFusedAdam",
    "torch.optim.AdamW": "NpuFusedAdamW",
    "torch.optim.RMSprop": "NpuFusedRMSprop",
    "torch.optim.SGD": "NpuFusedSGD",
}
_PRODUCTS = ("matmul", "bmm", "einsum", "baddbmm")


def fusions(tree: ast.Module, names: Names) -> Iterator[tuple[ast.AST, str]]:
    """Yields places and the operator that would serve there.

    Structure is all that is looked at, so a suggestion is a place to look at, not a proof.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            yield from _product(node, names)
        elif isinstance(node, ast.Call):
            yield from _call(node, names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function(node)


def _called(node: ast.AST) -> str:
    """Returns the last name of what is called, or an empty string: `F.silu(x)` is "silu"."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _contains(node: ast.AST, *wanted: str) -> bool:
    return any(_called(inner) in wanted for inner in ast.walk(node))


def _product(node: ast.BinOp, names: Names) -> Iterator[tuple[ast.AST, str]]:
    sides = (node.left, node.right)
    if any(_called(side) == "silu" for side in sides):
        yield node, "silu times gate: torch_npu.npu_swiglu of both halves in one tensor"
    for side in sides:
        if _called(side) == "rsqrt" and _contains(side, "mean"):
            yield node, "RMS norm: torch_npu.npu_rms_norm"


def _call(node: ast.Call, names: Names) -> Iterator[tuple[ast.AST, str]]:
    name = _called(node)
    first = node.args[0] if node.args else None
    is_sum = isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add)
    if is_sum and "norm" in name.lower() and "rms" in name.lower():
        yield node, "add and RMS norm: torch_npu.npu_add_rms_norm"
    if is_sum and name == "gelu":
        yield node, "bias and gelu: torch_npu.npu_fused_matmul with fused_op_type gelu_tanh"
    if name == "topk" and _contains(node, "softmax"):
        yield node, "gating: torch_npu.npu_moe_gating_top_k_softmax"
    full = names.of(node.func)
    if full in OPTIMIZERS:
        yield node, f"one kernel for all parameters: torch_npu.optim.{OPTIMIZERS[full]}"


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[ast.AST, str]]:
    if node.name == "rotate_half" or node.name.startswith("apply_rotary"):
        yield node, "rotary embedding: torch_npu.npu_rotary_mul, npu_apply_rotary_pos_emb"
    softmaxes = [inner for inner in ast.walk(node) if _called(inner) in ("softmax", "Softmax")]
    products = [inner for inner in ast.walk(node) if _is_product(inner)]
    if softmaxes and len(products) > 1 and any(_transposes(product) for product in products):
        yield softmaxes[0], "attention in pieces: torch_npu.npu_fusion_attention"


def _is_product(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.MatMult)
    return _called(node) in _PRODUCTS


def _transposes(product: ast.AST) -> bool:
    """Returns whether an operand of a product is transposed, or einsum says how by itself."""
    is_view = any(
        isinstance(inner, ast.Attribute) and inner.attr in ("T", "mT")
        for inner in ast.walk(product)
    )
    return is_view or _contains(product, "transpose", "permute", "t", "einsum")
