"""What the installed distribution and a freshly built wheel say of themselves."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of the working tree; the persistent build folder makes this a matter of seconds."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    done = subprocess.run(
        [*command, "-w", str(folder), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(folder.glob("torch_npu_sim-*.whl")))


def test_the_versions_agree(project: dict[str, object]) -> None:
    import torch_npu_sim

    assert metadata.version("torch_npu_sim") == project["version"] == torch_npu_sim.__version__


def test_the_build_and_the_package_want_the_same_torch(project: dict[str, object]) -> None:
    pinned = [line for line in project["dependencies"] if line.startswith("torch")]
    in_cmake = re.search(
        r"NPU_SIM_TORCH_VERSION ([\d.]+)", (ROOT / "cmake/torch.cmake").read_text()
    )
    assert in_cmake is not None
    assert pinned == [f"torch=={in_cmake[1]}"]


def test_the_running_torch_satisfies_the_pin_whatever_its_label() -> None:
    import torch

    requirement = [r for r in metadata.requires("torch_npu_sim") or [] if r.startswith("torch==")]
    assert requirement == [f"torch=={torch.__version__.partition('+')[0]}"]


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        ("torch.backends", "torch_npu_sim", "torch_npu_sim:_autoload"),
        ("console_scripts", "npu-sim", "torch_npu_sim.cli:main"),
    ],
)
def test_the_entry_point_is_declared_and_loads(group: str, name: str, target: str) -> None:
    points = [p for p in metadata.entry_points(group=group) if p.name == name]
    assert [p.value for p in points] == [target]
    assert callable(points[0].load())


def test_the_wheel_holds_the_extension_its_types_and_the_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert [n for n in names if re.fullmatch(r"torch_npu_sim/_C\..*\.so", n)]
    assert "torch_npu_sim/py.typed" in names
    assert "torch_npu_sim/_C.pyi" in names
    assert [n for n in names if n.endswith("licenses/LICENSE")]


def test_the_wheel_holds_every_module_of_the_package_and_nothing_else(
    wheel: zipfile.ZipFile,
) -> None:
    packed = {n for n in wheel.namelist() if n.endswith(".py")}
    in_tree = {str(p.relative_to(ROOT)) for p in (ROOT / "torch_npu_sim").rglob("*.py")}
    assert packed == in_tree


def test_the_wheel_names_no_folder_of_the_building_machine(wheel: zipfile.ZipFile) -> None:
    extension = next(n for n in wheel.namelist() if n.endswith(".so"))
    content = wheel.read(extension)
    assert b"$ORIGIN/../torch/lib" in content
    assert str(ROOT).encode() not in content


def test_the_wheel_puts_the_shim_on_the_path_only_when_asked(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path)
    found = {}
    for asked in ("0", "1"):
        code = (
            f"import importlib.util as u, site; site.addsitedir({str(tmp_path)!r})\n"
            "print(u.find_spec('torch_npu') is not None)"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            capture_output=True,
            text=True,
            env={"NPU_SIM_SHIM": asked},
            check=True,
        )
        found[asked] = done.stdout.strip()
    assert found == {"0": "False", "1": "True"}
    assert "torch_npu_sim/shim/torch_npu-2.13.0.dist-info/METADATA" in wheel.namelist()
    assert "torch_npu_sim/migrate/page.html" in wheel.namelist()
