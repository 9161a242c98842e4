"""Prints the requirements of one extra of pyproject.toml, one a line.

Usage: python list_requirements.py EXTRA
"""

import sys
import tomllib
from pathlib import Path


def main(extra: str) -> None:
    """Prints what `pip install .[extra]` would ask for beside the package itself."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    print("\n".join(project["optional-dependencies"][extra]))


if __name__ == "__main__":
    main(sys.argv[1])
