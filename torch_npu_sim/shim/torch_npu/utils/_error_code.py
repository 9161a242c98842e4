"""Codes of torch_npu's errors, as its messages end with them."""

import os
import time
from enum import Enum

__all__ = ["ErrCode", "dist_error", "graph_error", "ops_error", "prof_error", "pta_error"]


class ErrCode(Enum):
    """What went wrong: a number and its text (torch_npu/utils/_error_code.py)."""

    SUCCESS = (0, "success")
    PARAM = (1, "invalid parameter")
    TYPE = (2, "invalid type")
    VALUE = (3, "invalid value")
    PTR = (4, "invalid pointer")
    INTERNAL = (5, "internal error")
    MEMORY = (6, "memory error")
    NOT_SUPPORT = (7, "feature not supported")
    NOT_FOUND = (8, "resource not found")
    UNAVAIL = (9, "resource unavailable")
    SYSCALL = (10, "system call failed")
    TIMEOUT = (11, "timeout error")
    PERMISSION = (12, "permission error")
    ACL = (100, "call acl api failed")
    HCCL = (200, "call hccl api failed")
    GE = (300, "call ge api failed")
    EXCEPT = (999, "applicaiton exception")

    @property
    def code(self) -> int:
        """The number within its module."""
        return self.value[0]

    @property
    def msg(self) -> str:
        """The text; the spelling of the last one is the vendor's."""
        return self.value[1]


def _error(module: int, name: str, error: ErrCode) -> str:
    if os.environ.get("TORCH_NPU_COMPACT_ERROR_OUTPUT", "0") not in ("", "0"):
        return ""
    now = time.strftime("%Y-%m-%d-%H:%M:%S", time.localtime())
    rank = os.environ.get("RANK", "-1")
    code = f"ERR{module:02d}{error.code:03d}"
    where = f"(PID:{os.getpid()}, Device:-1, RankID:{rank})"
    return f"\n[ERROR] {now} {where} {code} {name} {error.msg}"


def pta_error(error: ErrCode) -> str:
    """Returns the end of a message of torch_npu itself."""
    return _error(0, "PTA", error)


def ops_error(error: ErrCode) -> str:
    """Returns the end of a message of an operator."""
    return _error(1, "OPS", error)


def dist_error(error: ErrCode) -> str:
    """Returns the end of a message of torch_npu.distributed."""
    return _error(2, "DIST", error)


def graph_error(error: ErrCode) -> str:
    """Returns the end of a message of graphs."""
    return _error(3, "GRAPH", error)


def prof_error(error: ErrCode) -> str:
    """Returns the end of a message of the profiler."""
    return _error(4, "PROF", error)
