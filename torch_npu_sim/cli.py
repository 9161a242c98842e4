"""The command `npu-sim`: what the chips are, and any script with a report of its simulated time."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    help="A simulated Ascend NPU for PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ChipOption = Annotated[
    str | None, typer.Option("--chip", help="A preset's name or the path of a chip file.")
]


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"npu-sim: {error}", err=True)
    return typer.Exit(2)


@app.command()
def chips() -> None:
    """List the presets."""
    from rich.console import Console
    from rich.table import Table

    from torch_npu_sim import presets

    current = presets.get_chip().name
    table = Table("chip", "SoC", "what it is")
    for name in presets.chips():
        chip = presets.load_chip(name)
        mark = " (in use)" if chip.name == current else ""
        table.add_row(name + mark, chip.soc_name, chip.summary)
    Console().print(table)


@app.command()
def info(chip: ChipOption = None) -> None:
    """Show every number of a chip, and where it comes from."""
    from rich.console import Console
    from rich.table import Table

    from torch_npu_sim import presets
    from torch_npu_sim.report.quantity import with_unit

    try:
        facts = presets.get_chip() if chip is None else presets.load_chip(chip)
    except (ValueError, OSError) as error:
        raise _fail(error) from error
    console = Console()
    console.print(f"{facts.name}  {facts.soc_name}\n{facts.summary}", highlight=False)
    table = Table("parameter", "value", "source")
    table.columns[1].justify = "right"
    for parameter in facts.parameters:
        table.add_row(parameter.name, with_unit(parameter.value, parameter.unit), parameter.source)
    console.print(table)


_SCRIPT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
ScriptArgument = Annotated[Path, typer.Argument(help="A Python script, run as __main__.")]
ScriptArguments = Annotated[list[str] | None, typer.Argument(help="Its arguments.")]


def _prepare(script: Path, chip: str | None) -> None:
    """Chooses the chip and puts torch_npu in place.

    Raises:
        typer.Exit: there is no such script or chip, or a real torch_npu is installed.
    """
    from torch_npu_sim import install_as_torch_npu, presets

    if not script.is_file():
        raise _fail(FileNotFoundError(f"expected the path of a Python script, got {script}"))
    try:
        if chip is not None:
            presets.set_chip(chip)
            os.environ["NPU_SIM_CHIP"] = chip  # processes that the script starts simulate it too
        install_as_torch_npu()
    except (ImportError, ValueError, OSError) as error:
        raise _fail(error) from error


@app.command(context_settings=_SCRIPT)
def run(
    script: ScriptArgument,
    args: ScriptArguments = None,
    chip: ChipOption = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a trace that opens in Perfetto.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write a report as one HTML page.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Operators to list.")] = 20,
) -> None:
    """Run a script, then report the simulated time of what it launched.

    The script may import torch_npu, torchair and npugraph_ex: they are this simulator.
    """
    from torch_npu_sim import trace as record
    from torch_npu_sim.script import run_script

    _prepare(script, chip)
    with record() as result:
        code = run_script(script, args or [])
    sys.stdout.flush()
    typer.echo(result.table(top))
    if trace is not None:
        result.to_chrome(trace)
        typer.echo(f"trace        {trace}  (open in https://ui.perfetto.dev)")
    if report is not None:
        result.to_html(report, script.name)
        typer.echo(f"report       {report}  (open in a browser)")
    raise typer.Exit(code)


@app.command(context_settings=_SCRIPT)
def coverage(
    script: ScriptArgument,
    args: ScriptArguments = None,
    chip: ChipOption = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write it as JSON too.")] = None,
) -> None:
    """Run a script, then tell which operators it used and which the card leaves to the host."""
    from json import dumps

    from torch_npu_sim import coverage as record
    from torch_npu_sim.script import run_script

    _prepare(script, chip)
    with record() as found:
        code = run_script(script, args or [])
    sys.stdout.flush()
    typer.echo(found.table())
    if json is not None:
        json.write_text(dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(code)


@app.command()
def validate(
    file: Annotated[
        Path | None,
        typer.Argument(help="Measurements as CSV; those that ship with the package if left out."),
    ] = None,
    chip: Annotated[
        list[str] | None, typer.Option("--chip", help="Only rows of this preset; repeatable.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only rows of this kind; repeatable.")
    ] = None,
    single_kernel: Annotated[
        bool, typer.Option("--single-kernel", help="Only rows that are one kernel on the card.")
    ] = False,
    worst: Annotated[int, typer.Option("--worst", help="Rows farthest off to list.")] = 10,
    json: Annotated[Path | None, typer.Option("--json", help="Write all rows as JSON.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all rows as CSV.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw simulated over measured, .svg or .html.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Rewrite the measured errors that reports quote.")
    ] = False,
) -> None:
    """Compare simulated times with published measurements."""
    from torch_npu_sim.validation.command import Selection
    from torch_npu_sim.validation.command import run as run_validation

    selection = Selection(tuple(chip or ()), tuple(kind or ()), single_kernel)
    try:
        outputs = {"json": json, "csv": csv, "plot": plot}
        run_validation(file, selection, worst, outputs, update)
    except (ValueError, OSError) as error:
        raise _fail(error) from error


@app.command()
def migrate(
    path: Annotated[Path, typer.Argument(help="A CUDA project: a folder or a Python file.")],
    every: Annotated[
        bool, typer.Option("--all", help="List what is redirected too, not only its count.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all findings as JSON.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write them as one page.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if something does not move by itself.")
    ] = False,
) -> None:
    """Read a CUDA project without running it, and tell what moves to npu."""
    from torch_npu_sim.migrate.command import run as run_migration

    try:
        moves = run_migration(path, every, json, html)
    except OSError as error:
        raise _fail(error) from error
    raise typer.Exit(1 if check and not moves else 0)


@app.command()
def explain(
    kernel: Annotated[
        str, typer.Argument(help="An operator, shapes and formats: matmul 4096x4096x4096 mxfp4.")
    ],
    chip: ChipOption = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="The same call came just before; else L2 is cold.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the pipeline over time, .svg or .html.")
    ] = None,
) -> None:
    """Explain why a kernel takes its time."""
    from torch_npu_sim import presets
    from torch_npu_sim.report.drawing import pipeline_svg, write_drawing
    from torch_npu_sim.report.explanation import explain as explain_kernel
    from torch_npu_sim.validation.simulation import run_alone
    from torch_npu_sim.works.text import kernels_of

    try:
        if chip is not None:
            presets.set_chip(chip)
        explanations = [explain_kernel(k) for k in run_alone(kernels_of(kernel), cold=not warm)]
        for explanation in explanations:
            typer.echo(f"{explanation}\n")
        if plot is not None:
            longest = max(explanations, key=lambda found: found.duration_us)
            write_drawing(pipeline_svg(longest), plot)
            typer.echo(f"plot         {plot}")
    except (ValueError, OSError) as error:
        raise _fail(error) from error


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
