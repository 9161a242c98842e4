"""Runs PyTorch's device-generic test files for npu and for the CPU, and tells where they differ.

    python tests/upstream/run_upstream.py --pytorch ~/pytorch test_view_ops test_indexing

A test counts against npu only if the CPU passes it: what npu fails is run on the CPU, too, and
what fails there is subtracted.
A test that ends the process or takes too long is noted as such, and the run goes on after it.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
DEVICES = ("npu", "cpu")
PASSES = ("passed", "skipped")
LIMIT = "file limit"


@dataclass(frozen=True)
class Settings:
    """What the command line said. Limits are in seconds."""

    pytorch: Path
    out: Path
    test_limit: float
    file_limit: float
    select: str
    resume: bool


@dataclass
class Counts:
    """The result of a file. `differ` are the tests that the CPU passes and npu does not."""

    file: str
    run: int = 0
    passed: int = 0
    skipped: int = 0
    cpu_fails_too: int = 0
    no_cpu_test: int = 0
    unfinished: int = 0
    differ: dict[str, str] = field(default_factory=dict)


def read_lines(path: Path) -> dict[str, dict[str, object]]:
    """The last word on each test. One that only started is `unfinished`."""
    tests: dict[str, dict[str, object]] = {}
    if not path.exists():
        return tests
    for text in path.read_text().splitlines():
        line = json.loads(text)
        known = tests.get(line["test"], {})
        if "start" in line:
            line["outcome"] = "unfinished"
        elif known.get("outcome") == "failed":
            continue  # a failure in the call is not undone by the tear-down
        tests[line["test"]] = line
    return tests


def append(path: Path, **fields: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(fields) + "\n")


def environment(device: str) -> dict[str, str]:
    """Selects the device in torch's own test generator (common_device_type.py:936)."""
    name = "privateuse1,npu" if device == "npu" else "cpu"
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        "PYTORCH_TESTING_DEVICE_ONLY_FOR": name,
        "PYTORCH_TESTING_DEVICE_FOR_CUSTOM": name if device == "npu" else "",
        "NPU_UPSTREAM_DEVICE": device,
        "NPU_SIM_DEVICES": os.environ.get("NPU_SIM_DEVICES", "2"),  # some tests ask for two
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def start(settings: Settings, file: str, device: str, lines: Path) -> subprocess.Popen[bytes]:
    """One pytest process for what is left of a file; for the CPU, of what npu did not pass."""
    done = lines.with_suffix(".done")
    done.write_text("\n".join(read_lines(lines)))
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-c", str(HERE / "pytest.ini")]
    command += ["--rootdir", str(settings.pytorch / "test"), "-p", "no:cacheprovider"]
    command += ["-p", "npu_plugin", "--lines", str(lines), "--done", str(done), "--tb=short"]
    command += ["-k", settings.select] if settings.select else []
    if device == "cpu":
        only = lines.with_suffix(".only")
        only.write_text("\n".join(not_passed(settings, file)))
        command += ["--only", str(only)]
    log = lines.with_suffix(".log").open("ab")
    return subprocess.Popen(
        [*command, f"{file}.py"],
        cwd=settings.pytorch / "test",
        env=environment(device),
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def watch(process: subprocess.Popen[bytes], lines: Path, limit: float, until: float) -> str:
    """Waits for the process; ends it when a test or the file takes too long. Returns why."""
    while process.poll() is None:
        time.sleep(0.5)
        silent = time.time() - lines.stat().st_mtime if lines.exists() else 0.0
        collecting = not read_tail(lines).get("start")
        if time.time() > until or (silent > limit and not collecting):
            process.kill()
            process.wait()
            return LIMIT if time.time() > until else "timed out"
    return "crashed"


def read_tail(lines: Path) -> dict[str, object]:
    """The last whole line of a file of results, or nothing."""
    if not lines.exists():
        return {}
    whole = [text for text in lines.read_text()[-4000:].splitlines() if text.endswith("}")]
    try:
        last: dict[str, object] = json.loads(whole[-1])
    except (IndexError, json.JSONDecodeError):
        return {}
    return last


def lines_of(settings: Settings, file: str, device: str) -> Path:
    return settings.out / f"{file.replace('/', '.')}.{device}.jsonl"


def not_passed(settings: Settings, file: str) -> list[str]:
    """The tests of a file that npu failed, in any way."""
    tests = read_lines(lines_of(settings, file, "npu"))
    return [name for name, line in tests.items() if name and line["outcome"] not in PASSES]


def forget_limit(lines: Path) -> None:
    """Takes back what a file's limit cut short, so that it is run again."""
    if lines.exists():
        whole = lines.read_text().splitlines()
        cut = {line["test"] for line in map(json.loads, whole) if line.get("outcome") == LIMIT}
        kept = [text for text in whole if json.loads(text)["test"] not in cut]
        lines.write_text("".join(f"{text}\n" for text in kept))


def run_file(settings: Settings, file: str, device: str) -> None:
    """Runs a file to its end, however many processes that takes."""
    lines = lines_of(settings, file, device)
    if settings.resume:
        forget_limit(lines)
    else:
        lines.unlink(missing_ok=True)
    until = time.time() + settings.file_limit
    while True:
        process = start(settings, file, device, lines)
        why = watch(process, lines, settings.test_limit, until)
        tests = read_lines(lines)
        open_tests = [name for name, line in tests.items() if line["outcome"] == "unfinished"]
        for name in open_tests:
            note = f"exit status {process.returncode}" if why == "crashed" else why
            append(lines, test=name, outcome=why, message=note)
        if why == LIMIT:
            append(lines, test="", outcome=why, message=f"{settings.file_limit:.0f} s are over")
        if why == LIMIT or not open_tests:
            return


def compare(settings: Settings, file: str) -> Counts:
    """Counts npu's results of a file, less what the CPU fails."""
    npu, cpu = (read_lines(lines_of(settings, file, device)) for device in DEVICES)
    counts = Counts(file)
    for test, line in npu.items():
        outcome = line["outcome"]
        on_cpu = cpu.get(test, {}).get("outcome", "no test")
        if not test or outcome == LIMIT:
            counts.unfinished += 1
        elif outcome == "skipped":
            counts.skipped += 1
        elif outcome == "passed":
            counts.passed += 1
        elif on_cpu == "passed":
            counts.differ[test] = f"{outcome}: {line.get('message', '')}"
        elif on_cpu in ("no test", "skipped"):
            counts.no_cpu_test += 1
        else:
            counts.cpu_fails_too += 1
    counts.run = counts.passed + len(counts.differ) + counts.cpu_fails_too + counts.no_cpu_test
    return counts


def table(results: list[Counts]) -> str:
    """The counts as a table of Markdown."""
    names = ("run", "passed", "differ", "cpu_fails_too", "no_cpu_test", "skipped", "unfinished")
    head = "file run passed only-npu-fails cpu-fails-too no-cpu-test skipped unfinished".split()
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for counts in results:
        values = [getattr(counts, name) for name in names]
        cells = [str(len(value) if isinstance(value, dict) else value) for value in values]
        rows.append(" | ".join([counts.file, *cells]))
    return "\n".join(f"| {row} |" for row in rows)


def work(settings: Settings, jobs: "queue.SimpleQueue[str]") -> None:
    """Runs files until none is left: each on npu, then on the CPU what npu failed."""
    while True:
        try:
            file = jobs.get_nowait()
        except queue.Empty:
            return
        began = time.time()
        run_file(settings, file, "npu")
        lines_of(settings, file, "cpu").unlink(missing_ok=True)
        if not_passed(settings, file):
            run_file(settings, file, "cpu")
        counts = compare(settings, file)
        print(
            f"{file}: {counts.run} run, {len(counts.differ)} that only npu fails, "
            f"{time.time() - began:.0f} s",
            flush=True,
        )


def parse(arguments: list[str]) -> tuple[Settings, list[str], int]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="+", help="test_view_ops functorch/test_vmap ...")
    parser.add_argument("--pytorch", type=Path, required=True, help="a checkout of PyTorch 2.13")
    parser.add_argument("--out", type=Path, default=Path("build/upstream"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--test-limit", type=float, default=120, help="seconds a test may take")
    parser.add_argument("--file-limit", type=float, default=3600, help="seconds a file may take")
    parser.add_argument("--select", default="", help="pytest's -k")
    parser.add_argument("--resume", action="store_true", help="keep the results that are there")
    got = parser.parse_args(arguments)
    if not (got.pytorch / "test").is_dir():
        parser.error(f"--pytorch: expected a checkout with a folder test/, got {got.pytorch}")
    files = [name.removesuffix(".py") for name in got.files]
    for name in files:
        if not (got.pytorch / "test" / f"{name}.py").is_file():
            parser.error(
                f"no test/{name}.py in {got.pytorch}; expected a name such as test_view_ops"
            )
    pytorch, out = got.pytorch.resolve(), got.out.resolve()
    settings = Settings(pytorch, out, got.test_limit, got.file_limit, got.select, got.resume)
    return settings, files, got.jobs


def main(arguments: list[str]) -> int:
    """Runs, compares, prints. Returns 1 if npu fails what the CPU passes, else 0."""
    settings, files, count = parse(arguments)
    settings.out.mkdir(parents=True, exist_ok=True)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    for file in files:
        jobs.put(file)
    workers = [threading.Thread(target=work, args=(settings, jobs)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results = [compare(settings, file) for file in files]
    summary = [vars(counts) for counts in results]
    (settings.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for counts in results:
        for test, message in sorted(counts.differ.items()):
            print(f"{counts.file} {test}: {message.splitlines()[0][:200]}")
    print(table(results))
    return 1 if any(counts.differ or counts.unfinished for counts in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
