"""Chips: which there are, which one the cards are, and a user's own as a YAML file.

A chip file names the preset it starts from and the numbers it changes::

    base: ascend950pr
    name: ascend950pr_more_bandwidth
    hibl_bytes_per_s: 2.0e12
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_npu_sim import _C

__all__ = ["Chip", "Parameter", "apply_environment", "chips", "get_chip", "load_chip", "set_chip"]

_VARIABLE = "NPU_SIM_CHIP"


@dataclass(frozen=True)
class Parameter:
    """One number of a chip, and where it comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Chip:
    """A chip: its names and every number the model uses."""

    name: str
    soc_name: str
    summary: str
    parameters: tuple[Parameter, ...]

    def __getitem__(self, name: str) -> float:
        """Returns the value of the parameter `name`.

        Raises:
            KeyError: the chip has no such parameter.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter.value
        known = ", ".join(parameter.name for parameter in self.parameters)
        raise KeyError(f"chip {self.name}: expected one of {known}; got {name!r}")


@dataclass(frozen=True)
class _Choice:
    """What a user asked for: a preset, changed numbers, and a name for the result."""

    base: str
    overrides: Mapping[str, float]
    name: str  # empty: the preset's


def chips() -> list[str]:
    """Returns the names of the presets."""
    return _C.chip_names()


def set_chip(name_or_yaml: str | os.PathLike[str]) -> None:
    """Makes every card the chip named, and starts their clocks, caches and statistics anew.

    Args:
        name_or_yaml: a preset's name (see `chips()`), or the path of a chip file.

    Raises:
        ValueError: there is no such preset, or the file is not a chip file.
        FileNotFoundError: there is no such file.
        RuntimeError: tensors are on a card.
    """
    choice = _read(name_or_yaml)
    _C.set_chip(choice.base, dict(choice.overrides), choice.name)


def get_chip() -> Chip:
    """Returns the chip that every card is."""
    return _chip(_C.chip(), _C.chip_parameters())


def load_chip(name_or_yaml: str | os.PathLike[str]) -> Chip:
    """Returns a chip without making the cards it.

    Args:
        name_or_yaml: as for `set_chip`.

    Raises:
        ValueError: there is no such preset, or the file is not a chip file.
        FileNotFoundError: there is no such file.
    """
    return _describe(_read(name_or_yaml))


def apply_environment() -> None:
    """Loads the chip file that NPU_SIM_CHIP names.

    A preset's name, and NPU_SIM_FIDELITY, are read by the runtime.

    Raises:
        ValueError: there is no such preset or fidelity, or the file is not a chip file.
        FileNotFoundError: there is no such file.
    """
    value = os.environ.get(_VARIABLE, "")
    if _names_file(value):
        set_chip(value)
    else:
        _C.chip()


def _describe(choice: _Choice) -> Chip:
    request = choice.base, dict(choice.overrides), choice.name
    return _chip(_C.describe_chip(*request), _C.describe_chip_parameters(*request))


def _chip(facts: Mapping[str, Any], rows: list[tuple[str, float, str, str]]) -> Chip:
    parameters = tuple(Parameter(*row) for row in rows)
    return Chip(facts["name"], facts["soc_name"], facts["summary"], parameters)


def _names_file(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or os.sep in text


def _read(name_or_yaml: str | os.PathLike[str]) -> _Choice:
    text = os.fspath(name_or_yaml)
    if not _names_file(text):
        return _Choice(text, {}, "")
    import yaml  # here, because importing the package must stay fast

    path = Path(text)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"chip file {path}: expected YAML, got an error: {reason}") from error
    if not isinstance(content, dict) or not isinstance(content.get("base"), str):
        raise ValueError(
            f"chip file {path}: expected a mapping with the key base, got {content!r}; "
            f"write `base: {chips()[0]}` and the numbers to change"
        )
    numbers = {key: value for key, value in content.items() if key not in ("base", "name")}
    name = content.get("name", path.stem)
    overrides = {str(key): _number(path, key, value) for key, value in numbers.items()}
    return _Choice(content["base"], overrides, str(name))


def _number(path: Path, key: object, value: object) -> float:
    """Returns the value of a chip file as a number; YAML reads 2e12 as text.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, bool) and isinstance(value, int | float | str):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError(f"chip file {path}: expected a number for {key}, got {value!r}")
