"""Numbers with their units, for people."""

__all__ = ["with_unit"]

_KIB = 1024
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_STEPS_OF_TIME = ("ns", "us", "ms", "s")
# Units that take a prefix; the others (cores, shares, W, pJ/B) are shown as they are.
_PREFIXED = ("Hz", "B/s", "FLOP/s", "OP/s", "op/s")


def with_unit(value: float, unit: str) -> str:
    """Returns `value` in the largest multiple of `unit` that is at most it: 1.4e12 B/s is 1.4 TB/s.

    Sizes (B) are given in binary multiples when that is exact, and times (ns) up to seconds.
    """
    if unit == "B":
        return _size(value)
    if unit == "ns":
        return _scaled(value, _STEPS_OF_TIME)
    if unit in _PREFIXED:
        return _scaled(value, tuple(prefix + unit for prefix in _DECIMAL))
    return f"{value:.6g} {unit.replace('1/', 'per ')}"


def _size(value: float) -> str:
    step = 0
    while step + 1 < len(_BINARY) and value >= _KIB and value % _KIB == 0:
        value, step = value / _KIB, step + 1
    if step == 0 and value >= _KIB:
        return f"{value:,.0f} B"
    return f"{value:.6g} {_BINARY[step]}"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    step = 0
    while step + 1 < len(units) and abs(value) >= 1000:
        value, step = value / 1000, step + 1
    return f"{value:.6g} {units[step]}"
