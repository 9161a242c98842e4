"""Options of the compiler: any may be set at any depth, and none has an effect."""

from typing import Any

__all__ = ["CompilerConfig"]


class _Options:
    """A group of options: one that was not set is a group itself, and false."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        group = _Options()
        object.__setattr__(self, name, group)
        return group

    def __bool__(self) -> bool:
        return False


class CompilerConfig(_Options):
    """What `get_npu_backend` takes: `config.experimental_config.frozen_parameter = True` ..."""

    def __init__(self) -> None:
        """Starts with the real one's mode."""
        self.mode = "max-autotune"

    def __bool__(self) -> bool:
        """Is true, as objects are."""
        return True
