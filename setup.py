"""Drives CMake and Ninja; everything else about the package is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
# Kept between builds, so that only what changed is compiled again.
BUILD_FOLDER = ROOT / "build" / "release"


def find_tool(name: str) -> str:
    """Returns the path of a build tool, one beside the running Python first."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        sys.exit(f"torch_npu_sim: expected the build tool {name}, got none; `pip install {name}`")
    return found


# Python reads it at every start: a program may then import torch_npu before it imports torch.
PTH = "torch_npu_sim_shim.pth"


class FreshBuildPy(build_py):
    """Copies the Python sources without what an earlier build left, such as removed modules."""

    def run(self) -> None:
        """Empties the folder that setuptools packs, then fills it."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            shutil.copy2(ROOT / "scripts" / PTH, self.build_lib)


class CMakeBuild(build_ext):
    """Builds the extension with CMake and puts it where setuptools wants it."""

    def build_extension(self, ext: Extension) -> None:
        """Configures, compiles and copies the one extension of the package."""
        cmake = find_tool("cmake")
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2")
        configure = [
            cmake,
            *("-S", str(ROOT), "-B", str(BUILD_FOLDER), "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={find_tool('ninja')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            # An error names csrc/..., not where this tree lay when it was compiled.
            f"-DCMAKE_CXX_FLAGS=-fmacro-prefix-map={ROOT}/=",
        ]
        compile_all = [cmake, "--build", str(BUILD_FOLDER), "--target", "_C", "--parallel", jobs]
        for command in (configure, compile_all):
            if subprocess.run(command, check=False).returncode != 0:
                sys.exit(f"torch_npu_sim: `{Path(cmake).name}` failed; the reason stands above")
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Replaced, not overwritten: a running process may have the old file mapped.
        target.unlink(missing_ok=True)
        shutil.copy2(BUILD_FOLDER / "torch_npu_sim" / target.name, target)


setup(
    ext_modules=[Extension("torch_npu_sim._C", sources=[])],
    cmdclass={"build_py": FreshBuildPy, "build_ext": CMakeBuild},
)
