"""What to use instead of operators that the card leaves to the host."""

__all__ = ["advice_for"]

# Base name of the operator -> what to write. Tests run those that are expressions of torch.
_ADVICE = {
    "_int_mm": "torch_npu.npu_quant_matmul multiplies int8 on the card",
    "binomial": "a sum of draws: (torch.rand(n, *shape) < p).sum(0), where n is small",
    "cauchy_": "torch.tan(math.pi * (torch.rand_like(x) - 0.5)) * sigma + median",
    "copysign": "torch.where(b < 0, -a.abs(), a.abs()); it takes -0.0 for positive",
    "fmax": "torch.maximum(a, b); it returns NaN where either is NaN",
    "fmin": "torch.minimum(a, b); it returns NaN where either is NaN",
    "heaviside": "torch.where(x == 0, values, (x > 0).to(x.dtype))",
    "histogram": "torch.histc counts on the card, for even bins",
    "huber_loss": "F.smooth_l1_loss(x, y, beta=delta) * delta is the same function",
    "hypot": "torch.sqrt(a * a + b * b); a and b must not overflow when squared",
    "index_reduce": "Tensor.scatter_reduce, with the index expanded to the source",
    "log_normal_": "x.normal_(mean, std).exp_()",
    "segment_reduce": "Tensor.scatter_reduce with an index of segments",
    "special_entr": "-x * torch.log(x), with torch.where for x <= 0",
    "special_xlog1py": "x * torch.log1p(y), where x is not 0",
}
_LINEAR_ALGEBRA = (
    "the card has no kernel of this factorisation: do it once on the CPU, outside the loop, and "
    "keep the result on npu"
)
_SPECIAL = (
    "the card has no kernel of this special function: where the arguments repeat, keep the result; "
    "else an approximation by operators that the card has"
)
_OTHERS = "write it with operators that the card has, or move it out of the loop"
_SPECIAL_NAMES = (
    *("digamma", "erfcx", "gammainc", "i0", "igamma", "igammac", "lgamma", "mvlgamma"),
    *("polygamma", "zeta"),
)
_LINEAR_NAMES = (
    *("cholesky", "geqrf", "linalg_", "_linalg_", "lu_", "matrix_exp", "ormqr", "logdet"),
    "_lu_with_info",
)


def advice_for(base: str) -> str:
    """Returns what to use instead of an operator, by its name without namespace and overload."""
    found = _ADVICE.get(base) or _ADVICE.get(base.removesuffix("_"))
    if found is not None:
        return found
    if base.startswith(_LINEAR_NAMES):
        return _LINEAR_ALGEBRA
    if base.startswith(("special_", *_SPECIAL_NAMES)):
        return _SPECIAL
    return _OTHERS
