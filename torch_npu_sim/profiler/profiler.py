"""Profiles: torch's, started with the arguments of torch_npu, with a recording of the card beside.

torch's profiler records the host; what the vendor's files tell of the card comes from a trace of
the simulator over the same time.
"""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch.profiler
from torch.profiler import ProfilerAction
from torch.profiler import schedule as _torch_schedule

from torch_npu_sim.npu.mstx import select_domains
from torch_npu_sim.profiler.experimental_config import _ExperimentalConfig
from torch_npu_sim.profiler.output import new_folder, write_profile
from torch_npu_sim.profiler.recording import Recording

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "_KinetoProfile",
    "analyse",
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
        self.metadata: dict[str, Any] = {}
        self._recording: Recording | None = None
        self._is_recording = False

    @property
    def records_host(self) -> bool:
        """Whether the host's operators are recorded."""
        return ProfilerActivity.CPU in self.activities

    @property
    def records_card(self) -> bool:
        """Whether the card's kernels are recorded."""
        return ProfilerActivity.NPU in self.activities

    @property
    def recording(self) -> Recording:
        """The last recording, which has ended.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._recording is None or self._is_recording:
            raise RuntimeError(
                "torch_npu.profiler.profile: expected a recording that has ended, got none; "
                "export after `stop`, or in on_trace_ready"
            )
        return self._recording

    def start_trace(self) -> None:
        """Begins a recording; the schedule calls it."""
        given = dict(self.metadata)
        super().start_trace()
        self.metadata = given  # without what torch adds of its own for Kineto
        self._recording = Recording(with_memory=self.profile_memory and self.records_card)
        self._recording.start()
        self._is_recording = True
        select_domains(self.npu_config.mstx_domain_include, self.npu_config.mstx_domain_exclude)
        self._mark_step()

    def stop_trace(self) -> None:
        """Ends the recording; the schedule calls it."""
        select_domains()
        if self._recording is not None and self._is_recording:
            self._recording.stop()
        super().stop_trace()
        if self._recording is not None and self._is_recording:
            self._is_recording = False
            self._recording.link(self._kineto_events(), with_card=self.records_card)

    def step(self) -> None:
        """Ends a step and begins the next."""
        super().step()
        self._mark_step()

    def add_metadata(self, key: str, value: str) -> None:
        """Adds a text to profiler_metadata.json."""
        self.metadata[key] = value
        if self.profiler is not None:
            super().add_metadata(key, value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """Adds a value, given as JSON, to profiler_metadata.json; what is no JSON is left out."""
        try:
            self.metadata[key] = json.loads(value)
        except ValueError:
            warnings.warn(
                f"add_metadata_json: expected JSON for {key}, got {value!r}", stacklevel=2
            )
            return
        if self.profiler is not None:
            super().add_metadata_json(key, value)

    def _mark_step(self) -> None:
        if self.record_steps and self._is_recording and self._recording is not None:
            self._recording.mark_step(self.step_num)

    def _kineto_events(self) -> Iterable[Any]:
        results: Any = self.profiler and self.profiler.kineto_results
        return results.events() if results else []


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
    """Returns a handler for `on_trace_ready` that writes the vendor's folder of a profile.

    That is `DIR/WORKER_PID_TIME_ascend_pt`, with tables and trace_view.json in its folder
    ASCEND_PROFILER_OUTPUT. Everything is written at once, whatever `analyse_flag` and `async_mode`
    are: there is no raw data to analyse later. Of a profile of torch.profiler, only torch's own
    trace is written.
    """
    del analyse_flag, async_mode

    def write(finished: Any) -> None:
        folder = new_folder(dir_name, worker_name)
        if isinstance(finished, profile):
            write_profile(folder, finished)
            return
        output = folder / "ASCEND_PROFILER_OUTPUT"
        output.mkdir()
        finished.export_chrome_trace(str(output / "trace_view.json"))

    return write


def analyse(
    profiler_path: str,
    max_process_number: int = 1,
    export_type: str | list[str] | None = None,
) -> None:
    """Analyses the profiles under a folder; they are already, since handlers write everything.

    Raises:
        RuntimeError: there is no such folder.
    """
    del max_process_number, export_type
    if not Path(profiler_path).is_dir():
        raise RuntimeError(f"analyse: expected a folder of profiles, got {profiler_path}")
