"""torchair: the graph compiler for torch.compile, as far as eager execution needs it.

A captured graph runs its operators one by one, as eager execution does; that is said once.
"""

import functools
import logging
from typing import Any

from torchair import configs, ge, inference, ops, scope
from torchair.configs.compiler_config import CompilerConfig
from torchair.unused import accept, keep

from torch_npu_sim.compile.graph_backends import run_captured

__all__ = [
    "CompilerConfig",
    "configs",
    "dynamo_export",
    "ge",
    "get_compiler",
    "get_npu_backend",
    "inference",
    "logger",
    "ops",
    "patch_for_hcom",
    "register_fx_node_ge_converter",
    "register_replacement",
    "scope",
    "set_dim_gears",
    "use_internal_format_weight",
]

logger = logging.getLogger("torchair")


def get_npu_backend(*, compiler_config: Any = None, **_options: Any) -> Any:
    """Returns a backend for `torch.compile(model, backend=...)`."""
    return functools.partial(run_captured, compiler_config=compiler_config)


def get_compiler(compiler_config: Any = None) -> Any:
    """Returns a compiler for AOTAutograd."""
    return functools.partial(run_captured, compiler_config=compiler_config)


def dynamo_export(*_args: Any, **_kwargs: Any) -> None:
    """Would write a graph for CANN's offline tools.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "torchair.dynamo_export: expected CANN's graph format, got a simulation without it; "
        "use torch.export"
    )


register_fx_node_ge_converter = keep
register_replacement = accept
patch_for_hcom = accept
set_dim_gears = accept
use_internal_format_weight = accept
