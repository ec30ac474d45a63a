"""What can be typed about evaluations that are there already. The commands stand beside `vsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import out as console
from ..console import print_json, say
from .arguments import Assignments, Data, Json, Metrics, Out, Split, as_path
from .parsing import SeveralMetrics, examples
from .report import MOST

results_app = typer.Typer()

Evaluated = Annotated[
    list[Path],
    typer.Argument(
        parser=as_path,
        metavar="RUN…",
        help="Runs, what 'vsr score' wrote, or folders of evaluations; the first is the measure.",
    ),
]


@results_app.command(
    epilog=examples("vsr report", "vsr report runs/mine --split validation", "vsr report runs/mine --windows 100")
)
def report(
    run: Annotated[
        Path | None,
        typer.Argument(
            parser=as_path, help="A run, what 'vsr score' wrote, or one evaluation's folder; else the newest run."
        ),
    ] = None,
    split: Split = "test",
    data: Data = None,
    most: Annotated[
        int, typer.Option("--windows", metavar="N", min=1, help="Storyboards at most, evenly chosen.")
    ] = MOST,
    as_json: Json = False,
) -> None:
    """Make a page of an evaluation, in one file: scores with baselines, losses, storyboards; also as Markdown."""
    from .report import run_report

    page, text = run_report(run, data, split, most=most)
    if as_json:
        print_json({"page": str(page), "markdown": str(text)})
    else:
        console.print(str(page), soft_wrap=True)
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


@results_app.command(
    cls=SeveralMetrics,
    epilog=examples(
        "vsr score theirs.jsonl --data data/my_stories",
        "vsr score theirs.jsonl --data data/my_stories --metrics all --out scores/theirs",
        "vsr score theirs.jsonl --data data/my_stories --run runs/mine",
        "vsr compare runs/mine scores/theirs",
    ),
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            parser=as_path, help="JSON lines: story, window (its first frame, from 0), text, image (a path beside it)."
        ),
    ],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", parser=as_path, help="The prepared stories that were predicted.")
    ],
    split: Split = "test",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            parser=as_path,
            help="A run whose encoders and training data give all the baselines.",
        ),
    ] = None,
    metrics: Metrics = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score what is there, and say how many windows are not.")
    ] = False,
    assignments: Assignments = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score predictions that another system made, as a run's are: on the same windows, beside the same baselines."""
    from ..config.experiment import resolve_metrics
    from ..config.resolve import parse_set
    from ..runs.opening import open_run
    from .evaluate import ALL, DEFAULT_METRICS
    from .score import run_score, show_score
    from .settings import comma_separated, registry

    found = registry()
    names = comma_separated(metrics or DEFAULT_METRICS)
    choices = resolve_metrics(found, found.names("metrics") if ALL in names else names, parse_set(assignments or []))
    opened = open_run(run) if run else None
    place, result = run_score(found, file, data, split, choices, out=out, allow_missing=allow_missing, run=opened)
    if as_json:
        print_json(result)
    else:
        show_score(place, split)
        say(f"next: vsr report {place}, or vsr compare RUN {place}")
