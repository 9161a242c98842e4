"""npugraph_ex: the graph compiler of release 2.13, as far as eager execution needs it."""

from torchair import CompilerConfig, get_npu_backend, register_replacement
from torchair import inference as inference
from torchair import ops as ops
from torchair import scope as scope

__all__ = ["CompilerConfig", "get_npu_backend", "register_replacement"]
