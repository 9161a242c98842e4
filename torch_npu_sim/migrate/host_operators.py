"""Operators that an NPU leaves to the host.

Made from the list of ATen overloads with a kernel in Ascend/op-plugin@517f2e7d
(op_plugin_functions.yaml at v2.13): a public function of torch is here if its operator is neither
in that list, nor composed of others, nor a view.
"""

__all__ = ["FUNCTIONS", "METHODS", "MODULES"]

_TORCH = (
    *("binomial", "cholesky", "cholesky_inverse", "copysign", "dequantize", "digamma", "fmax"),
    *("fmin", "frexp", "geqrf", "heaviside", "histogram", "histogramdd", "hspmm", "hypot", "i0"),
    *("igamma", "igammac", "index_reduce", "lcm", "lgamma", "logdet", "lu", "lu_unpack"),
    *("matrix_exp", "mode", "mvlgamma", "nextafter", "ormqr", "poisson", "polygamma"),
    *("quantize_per_tensor_dynamic", "segment_reduce", "_int_mm"),
)
_LINALG = (
    *("cholesky", "cholesky_ex", "det", "eig", "eigh", "eigvals", "eigvalsh"),
    *("householder_product", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu"),
    *("lu_factor", "lu_factor_ex", "lu_solve", "matrix_exp", "slogdet", "solve", "solve_ex"),
)
_SPECIAL = (
    *("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "digamma", "entr", "erfcx"),
    *("gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log_ndtr", "multigammaln"),
    *("ndtri", "polygamma", "psi", "xlog1py", "zeta"),
)
_FUNCTIONAL = ("fractional_max_pool2d", "fractional_max_pool3d", "huber_loss", "multi_margin_loss")

FUNCTIONS = frozenset(
    f"{module}.{name}"
    for module, names in (
        ("torch", _TORCH),
        ("torch.linalg", _LINALG),
        ("torch.special", _SPECIAL),
        ("torch.nn.functional", _FUNCTIONAL),
    )
    for name in names
)

# Methods whose names nothing but a tensor has.
METHODS = frozenset(
    (
        *(
            "cauchy_",
            "cholesky",
            "cholesky_inverse",
            "copysign",
            "copysign_",
            "digamma",
            "digamma_",
        ),
        *("fmax", "fmin", "frexp", "geometric_", "geqrf", "heaviside", "histogram", "hypot"),
        *("hypot_", "igamma", "igammac", "index_reduce", "index_reduce_", "lgamma", "lgamma_"),
        *("log_normal_", "logdet", "matrix_exp", "mvlgamma", "nextafter", "ormqr", "polygamma"),
        "sparse_mask",
    )
)

MODULES = frozenset(
    (
        *("torch.nn.HuberLoss", "torch.nn.MultiMarginLoss"),
        *("torch.nn.FractionalMaxPool2d", "torch.nn.FractionalMaxPool3d"),
    )
)
