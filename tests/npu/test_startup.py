"""Importing: the order does not matter, and a torch that does not fit is refused."""

import pytest

from torch_npu_sim import _startup

COUNT = "print(torch.npu.device_count(), torch.device('npu', 0))"


@pytest.mark.parametrize(
    "imports",
    [
        "import torch",
        "import torch_npu_sim, torch",
        "import torch; import torch_npu_sim",
        "import torch_npu_sim.cli, torch",
    ],
)
def test_any_order_of_imports_registers_the_device(run_python, imports):
    run = run_python(f"{imports}; {COUNT}")
    assert run.stdout == "8 npu:0\n", run.stderr


def test_importing_the_package_works_without_autoload(run_python):
    run = run_python(f"import torch_npu_sim, torch; {COUNT}", TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert run.stdout == "8 npu:0\n", run.stderr


def test_torch_alone_has_no_npu_without_autoload(run_python):
    run = run_python(
        "import torch; print(hasattr(torch, 'npu'))", TORCH_DEVICE_BACKEND_AUTOLOAD="0"
    )
    assert run.stdout == "False\n", run.stderr


def test_importing_loads_no_heavy_module(run_python):
    code = (
        "import torch, sys; before = set(sys.modules); import torch_npu_sim;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'rich', 'typer', 'yaml', 'numpy', 'sympy'}))"
    )
    assert run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0").stdout == "[]\n"


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.13.1"])
def test_the_release_it_was_built_for_is_accepted(version):
    _startup.check_torch_version(version)


@pytest.mark.parametrize("version", ["2.12.1", "2.14.0a0", "3.13.0", "2.1"])
def test_another_release_is_refused_with_the_way_out(version):
    with pytest.raises(ImportError, match=f"expected torch 2.13, got torch {version}.*AUTOLOAD=0"):
        _startup.check_torch_version(version)


def test_activation_checkpointing_takes_npu_for_its_device():
    from torch.utils.checkpoint import DefaultDeviceType

    assert DefaultDeviceType.get_device_type() == "npu"
