"""Profiles: torch's, started with the arguments of torch_npu."""

import os
import socket
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch.profiler
from torch.profiler import ProfilerAction
from torch.profiler import schedule as _torch_schedule

from torch_npu_sim.profiler.experimental_config import _ExperimentalConfig

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "_KinetoProfile",
    "profile",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity:
    """What is recorded: the host's operators, the card's kernels."""

    CPU = torch.profiler.ProfilerActivity.CPU
    NPU = torch.profiler.ProfilerActivity.PrivateUse1


def supported_activities() -> set[Any]:
    """Returns both activities."""
    return {ProfilerActivity.CPU, ProfilerActivity.NPU}


class _KinetoProfile(torch.profiler.profiler._KinetoProfile):
    """torch's profile without a schedule."""

    def __init__(
        self,
        *,
        activities: Iterable[Any] | None = None,
        experimental_config: _ExperimentalConfig | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        **options: Any,
    ) -> None:
        """Takes what torch_npu's takes; `activities` default to host and card."""
        del experimental_config
        super().__init__(
            activities=activities or supported_activities(),
            custom_trace_id_callback=custom_trace_id_callback,
            **options,
        )


class profile(torch.profiler.profile):  # noqa: N801 (torch's name)
    """torch.profiler.profile with torch_npu's arguments.

    Args:
        activities: host and card by default.
        schedule: which steps are recorded; all by default.
        on_trace_ready: called with the profile after each recording.
        experimental_config: options of the card's profiler.
        use_cuda: ignored, as there.
        options: `record_shapes` and so on, as torch.profiler.profile takes them.
    """

    def __init__(
        self,
        *,
        activities: Iterable[Any] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        experimental_config: _ExperimentalConfig | None = None,
        use_cuda: bool | None = None,
        **options: Any,
    ) -> None:
        """Makes a context manager; `step` ends a step."""
        del use_cuda
        super().__init__(
            activities=activities or supported_activities(),
            schedule=schedule,
            on_trace_ready=on_trace_ready,
            **options,
        )
        self.npu_config = experimental_config or _ExperimentalConfig()


def schedule(
    wait: int,
    active: int,
    warmup: int = 0,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Returns torch's schedule; here arguments may be given by position, and warm-up left out."""
    return _torch_schedule(
        wait=wait,
        warmup=warmup,
        active=active,
        repeat=repeat,
        skip_first=skip_first,
        skip_first_wait=skip_first_wait,
    )


def tensorboard_trace_handler(
    dir_name: str | None = None,
    worker_name: str | None = None,
    analyse_flag: bool = True,
    async_mode: bool = False,
) -> Callable[[Any], None]:
    """Returns a handler for `on_trace_ready` that writes the trace where the vendor's tools look.

    That is `DIR/WORKER_PID_TIME_ascend_pt/ASCEND_PROFILER_OUTPUT/trace_view.json`. The trace is
    written at once, whatever `analyse_flag` and `async_mode` are.
    """
    del analyse_flag, async_mode

    def write(finished: Any) -> None:
        worker = f"{worker_name or socket.gethostname()}_{os.getpid()}"
        now = datetime.now().astimezone().strftime("%Y%m%d%H%M%S%f")[:-3]
        folder = Path(dir_name or os.environ.get("ASCEND_WORK_PATH") or os.getcwd())
        output = folder / f"{worker}_{now}_ascend_pt" / "ASCEND_PROFILER_OUTPUT"
        output.mkdir(parents=True)
        finished.export_chrome_trace(str(output / "trace_view.json"))

    return write
