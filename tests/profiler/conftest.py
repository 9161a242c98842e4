"""A profile at Level1 with everything recorded, which many tests read."""

from __future__ import annotations

import pytest

from tests.profiler.written import LEVEL1, Written, write


@pytest.fixture(scope="package")
def level1(tmp_path_factory: pytest.TempPathFactory) -> Written:
    recorded = {"record_shapes": True, "with_flops": True, "profile_memory": True}
    return write(tmp_path_factory.mktemp("level1"), config=LEVEL1, **recorded)
