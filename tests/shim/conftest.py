"""A Python in which `import torch_npu` is the simulator."""

from collections.abc import Iterator

import pytest

from tests.python_session import PythonSession


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonSession]:
    with PythonSession(tmp_path_factory.mktemp("shim")) as session:
        session.run("import torch, torch_npu_sim; torch_npu_sim.install_as_torch_npu()")
        session.run("import torch_npu")
        yield session
