"""A Python in which CUDA code has been redirected."""

from collections.abc import Iterator

import pytest

from tests.python_session import PythonSession

LINES = "import torch_npu\nfrom torch_npu.contrib import transfer_to_npu\n"


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonSession]:
    with PythonSession(tmp_path_factory.mktemp("moved"), NPU_SIM_SHIM="1") as session:
        session.run(f"import torch\nkept = torch.zeros, torch.Generator\n{LINES}")
        yield session
