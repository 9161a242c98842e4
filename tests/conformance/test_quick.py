"""The quick set: float32, bfloat16 and complex64, forward and backward, modules, optimizers.

One run of the command does it all, in two worker processes; each test here reads one group of its
results. The result file stays, since the report takes the time of the quick set from it.
"""

import subprocess
import sys

import pytest

pytest.importorskip("expecttest", reason="torch's test data needs expecttest: [test]")

from tests.conformance.__main__ import QUICK_CHECKS, QUICK_DTYPES, QUICK_FILE  # noqa: E402
from tests.conformance.items import Item, Result  # noqa: E402
from tests.conformance.results import ROOT, read_results  # noqa: E402

GROUPS = [
    (database, check, dtype)
    for database, checks in QUICK_CHECKS.items()
    for check in sorted(checks)
    for dtype in sorted(QUICK_DTYPES)
    if (database, dtype) != ("module_db", "complex64")  # torch asks no module in it
]


@pytest.fixture(scope="module")
def results() -> dict[Item, Result]:
    """The results of the quick set, in a process of its own, as workers are forked from it."""
    command = [sys.executable, "-m", "tests.conformance", "run", "--quick", "--fresh"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {result.item: result for result in read_results(QUICK_FILE)}
    assert found, f"expected results, got none:\n{told.stdout}\n{told.stderr}"
    return found


@pytest.mark.parametrize("database,check,dtype", GROUPS, ids="-".join)
def test_torchs_data_gives_the_same_on_npu(results, database, check, dtype) -> None:
    group = [
        result
        for item, result in results.items()
        if (item.database, item.check, item.dtype) == (database, check, dtype)
    ]
    failed = [f"{one.item.id}: {one.message}" for one in group if one.result == "failed"]
    assert not failed, f"{len(failed)} of {len(group)} items failed:\n" + "\n".join(failed)
    assert sum(one.result == "passed" for one in group) > 0
