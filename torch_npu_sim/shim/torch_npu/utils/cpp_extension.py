"""Extensions in C++ that link torch_npu: a real one's C++ interface is not simulated."""

from typing import Any, NoReturn

__all__ = ["NpuExtension"]


def NpuExtension(name: str, sources: list[str], *_args: Any, **_kwargs: Any) -> NoReturn:  # noqa: N802
    """Would describe an extension to build.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        f"NpuExtension: expected torch_npu's C++ interface for {name}, got a simulated card, which "
        "has none; register the operator in Python with torch.library, or as a CppExtension of "
        "torch operators"
    )
