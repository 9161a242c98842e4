"""A Python of its own that runs one piece of code after another.

For tests that change what a whole process imports: the start, which imports torch, is paid once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

# Reads a JSON string a line, runs it in one namespace, answers with [output, error or None].
_SERVER = """
import contextlib, io, json, sys, traceback
requests, replies = sys.stdin, sys.stdout
space = {"__name__": "__main__"}
for line in requests:
    output, error = io.StringIO(), None
    with contextlib.redirect_stdout(output):
        try:
            exec(compile(json.loads(line), "<test>", "exec"), space)
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps([output.getvalue(), error]), file=replies, flush=True)
"""


class PythonSession:
    """The process; `run` raises AssertionError with the traceback of what failed there."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """Starts Python in `folder`, with variables of the environment set."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NPU_SIM_", "TORCH_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=folder,
            env=kept | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        """Runs `code` after all that ran before, and returns what it printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        # Libraries in C print to the same pipe; an answer is a list.
        while line and not line.startswith("["):
            line = self.process.stdout.readline()
        assert line, f"Python ended with code {self.process.wait()}"
        output, error = json.loads(line)
        assert error is None, error
        return output

    def __enter__(self) -> "PythonSession":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
