"""Makes sure that the sanitizers find a mistake inside the extension; run under run_sanitized.sh.

`elapsed_ps` takes events by address and trusts its callers: a freed address, and an odd one, are
a read after free and a misaligned read in our own code.
"""

import subprocess
import sys

PROGRAM = """
import ctypes, torch_npu_sim
from torch_npu_sim import _C
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
address = libc.malloc(ctypes.c_size_t(64))
{use}
"""
MISTAKES = {
    "heap-use-after-free": "libc.free(ctypes.c_void_p(address)); _C.elapsed_ps(address, address)",
    "misaligned address": "_C.elapsed_ps(address + 1, address + 1)",
}


def main() -> None:
    """Makes each mistake in a process of its own.

    Raises:
        SystemExit: one was not found.
    """
    for report, use in MISTAKES.items():
        code = PROGRAM.format(use=use)
        run = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
        )
        if run.returncode == 0 or report not in run.stderr or "elapsed_ps" not in run.stderr:
            sys.exit(
                f"check_sanitizers: expected a report of a {report} in elapsed_ps, got exit code "
                f"{run.returncode} and\n{run.stderr[-2000:]}\nbuild with NPU_SIM_SANITIZE"
            )
        print(f"sanitizers: a deliberate {report} is found")


if __name__ == "__main__":
    main()
