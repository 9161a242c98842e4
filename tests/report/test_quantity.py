"""Numbers with their units, for people."""

import pytest

from torch_npu_sim.report.quantity import with_unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.4e12, "B/s", "1.4 TB/s"),
        (378.5e12, "FLOP/s", "378.5 TFLOP/s"),
        (1.65e9, "Hz", "1.65 GHz"),
        (999, "B/s", "999 B/s"),
        (1000, "B/s", "1 kB/s"),
        (112 << 30, "B", "112 GiB"),
        (248 << 10, "B", "248 KiB"),
        (128, "B", "128 B"),
        (1_000_001, "B", "1,000,001 B"),
        (2400, "ns", "2.4 us"),
        (3e9, "ns", "3 s"),
        (0, "FLOP/s", "0 FLOP/s"),
        (28, "cores", "28 cores"),
        (0.958, "share", "0.958 share"),
        (2, "1/cycle", "2 per cycle"),
        (1.2, "pJ/FLOP", "1.2 pJ/FLOP"),
    ],
)
def test_a_quantity_is_given_in_its_largest_unit(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text
