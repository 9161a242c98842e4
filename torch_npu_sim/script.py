"""Running a user's script as Python itself would."""

import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

__all__ = ["run_script"]


def run_script(script: Path, args: list[str]) -> int:
    """Runs `script` as __main__ with `args` and returns its exit code.

    sys.argv and sys.path[0] are what they would be under `python script args`. An exception is
    printed as Python prints it, from the script's first frame on.
    """
    previous_argv, previous_path = sys.argv, list(sys.path)
    sys.argv = [str(script), *args]
    sys.path[0] = str(script.resolve().parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as request:
        return _exit_code(request)
    except KeyboardInterrupt:
        return 130  # what a shell reports for an interrupt: 128 + SIGINT
    except BaseException as error:
        sys.stdout.flush()
        frames = _own_frames(error.__traceback__, str(script))
        traceback.print_exception(type(error), error, frames)
        return 1
    finally:
        sys.argv, sys.path[:] = previous_argv, previous_path
    return 0


def _exit_code(request: SystemExit) -> int:
    """Returns what the interpreter would exit with; a message goes to stderr."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code
    print(request.code, file=sys.stderr)
    return 1


def _own_frames(frames: TracebackType | None, script: str) -> TracebackType | None:
    """Returns the traceback from the script's first frame on; all of it if there is none."""
    frame = frames
    while frame is not None and frame.tb_frame.f_code.co_filename != script:
        frame = frame.tb_next
    return frame or frames
