"""What can be typed about evaluations that are there already. The commands stand beside `vsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import print_json, say
from .options import Assignments, Data, Json, Split
from .report import MOST
from .words import examples

results_app = typer.Typer()

Evaluated = Annotated[
    list[Path],
    typer.Argument(metavar="RUN…", help="Runs, or folders that 'vsr score' wrote; the first is the measure."),
]


@results_app.command(
    epilog=examples("vsr report", "vsr report runs/mine --split validation", "vsr report runs/mine --windows 100")
)
def report(
    run: Annotated[
        Path | None, typer.Argument(help="A run, or what 'vsr score' wrote; else the newest run under runs/.")
    ] = None,
    split: Split = "test",
    data: Data = None,
    most: Annotated[
        int, typer.Option("--windows", metavar="N", min=1, help="Storyboards at most, evenly chosen.")
    ] = MOST,
    as_json: Json = False,
) -> None:
    """Make a page of an evaluation, in one file: scores with floors, losses, storyboards; and the same as Markdown."""
    from .report import run_report

    page, text = run_report(run, data, split, most=most)
    if as_json:
        print_json({"page": str(page), "markdown": str(text)})
    else:
        typer.echo(page)
        say(f"for a terminal or a pull request: {text}")


@results_app.command(
    epilog=examples("vsr compare runs/gru runs/lstm", "vsr compare runs/gru scores/theirs --split test --json")
)
def compare(places: Evaluated, split: Split = "test", assignments: Assignments = None, as_json: Json = False) -> None:
    """Compare evaluations of the same windows: differences with intervals, and what differs in the settings."""
    from .compare import run_compare, show_comparison
    from .settings import registry

    result = run_compare(registry(), places, split, assignments or [])
    if as_json:
        print_json(result)
    else:
        show_comparison(result)
