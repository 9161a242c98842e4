"""Prints what CMake must know of the running Python's torch, or ends with one sentence.

One fact a line, in this order: the package's folder, its version, 1 or 0 for the C++11 ABI.
Usage: python torch_facts.py VERSION, where VERSION is the release the extension is written for.
"""

import os
import sys

HINT = (
    "install it into the Python that builds with `pip install torch=={0}`, "
    "then `pip install --no-build-isolation .`"
)


def main(expected: str) -> None:
    """Prints the facts of the torch that `import torch` gives."""
    # The backend itself may be installed already, and broken: do not load it.
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    who = f"torch_npu_sim: expected torch {expected} for {sys.executable}, got"
    try:
        import torch
    except ImportError as error:
        sys.exit(f"{who} no torch ({error}); {HINT.format(expected)}")
    if torch.__version__.partition("+")[0] != expected:
        sys.exit(f"{who} {torch.__version__}; {HINT.format(expected)}")
    print(os.path.dirname(torch.__file__))
    print(torch.__version__)
    print(int(torch.compiled_with_cxx11_abi()))


if __name__ == "__main__":
    main(sys.argv[1])
