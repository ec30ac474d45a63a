"""`vsr score`: score the predictions of another system as those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len

from ..console import out as console
from ..console import print_json, say, warn
from ..errors import VsrError
from ..files.atomic import is_empty
from ..quantities import counted
from ..workflows.settings import IMAGE_METRICS, TEXT_METRICS, choose_metrics, load_registry
from .arguments import Assignments, Json, Metrics, Out, SplitName, as_path
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..config.resolve import Choice
    from ..data.prepared import Prepared
    from ..evaluation.embeddings import EmbeddedSplit
    from ..plugin.registry import Registry
    from ..runs.run import Run

SCORES = Path("scores")


@examples(
    "vsr score theirs.jsonl --data data/my_stories",
    "vsr score theirs.jsonl --data data/my_stories --metrics all --out scores/theirs",
    "vsr score theirs.jsonl --data data/my_stories --run runs/lstm",
    "vsr compare runs/lstm scores/theirs",
)
def score(
    file: Annotated[
        Path,
        typer.Argument(
            parser=as_path,
            help="JSON lines with the keys story, window (index of its first frame, from 0), text, and image (a path "
            "relative to the file).",
        ),
    ],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", parser=as_path, help="The prepared stories that were predicted.")
    ],
    split: SplitName = "test",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            parser=as_path,
            help="A run whose encoders and training data are used for the baselines that need them.",
        ),
    ] = None,
    metrics: Metrics = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score the predictions there are, even if windows are missing.")
    ] = False,
    assignments: Assignments = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score predictions of another system like those of a run: on the same windows, beside the same baselines."""
    from ..runs.opening import open_run

    registry = load_registry()
    choices = choose_metrics(registry, metrics, assignments)
    opened = open_run(run) if run else None
    place, result = run_score(
        registry,
        file,
        data,
        split,
        choices,
        out=out,
        allow_missing=allow_missing,
        run=opened,
        by_default=metrics is None,
    )
    if as_json:
        print_json(result)
    else:
        show_score(place, split)
        say(f"next: vsr report {place}, or vsr compare RUN {place}")


def run_score(
    registry: Registry,
    file: Path,
    data: Path,
    split: str,
    choices: Sequence[Choice],
    *,
    out: Path | None,
    allow_missing: bool,
    run: Run | None = None,
    by_default: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Score a file of predictions, store the evaluation, and return its folder, which is like a run's, and the result.

    `by_default` leaves out the default metrics of texts or images where the file has none.
    The embeddings and training data of `run` serve for baselines; without it, those that need one are unavailable.
    Raises VsrError if the file or its windows are not valid, or if the folder holds something else.
    """
    from ..runs.results import evaluations_of, lock_evaluation

    place = out or SCORES / file.stem
    if place.exists() and not is_empty(place) and not evaluations_of(place).is_dir():
        raise VsrError(
            f"--out {place}: holds something other than scores; name another folder, since nothing is overwritten"
        )
    if (place / "run.json").exists():
        raise VsrError(f"--out {place}: is a run with evaluations of its own; name another folder")
    with lock_evaluation(evaluations_of(place) / split):
        result = _score(
            registry,
            file,
            data,
            split,
            choices,
            place=place,
            allow_missing=allow_missing,
            run=run,
            by_default=by_default,
        )
    return place, result


def _score(
    registry: Registry,
    file: Path,
    data: Path,
    split: str,
    choices: Sequence[Choice],
    *,
    place: Path,
    allow_missing: bool,
    run: Run | None,
    by_default: bool,
) -> dict[str, Any]:
    from ..data.prepared import open_prepared
    from ..evaluation.external_predictions import read_external, score_external, windows_of
    from ..evaluation.storage import store_evaluation
    from ..runs.results import evaluations_of
    from ..workflows.evaluation import warn_of_lasting

    prepared = open_prepared(data)
    external = read_external(file, windows_of(prepared, split))
    if by_default:
        absent = {*(() if external.texts else TEXT_METRICS), *(() if external.images else IMAGE_METRICS)}
        choices = [choice for choice in choices if choice.name not in absent]
    embedded, cautions = _embed(registry, run, prepared, split) if run else (None, [])
    evaluation = score_external(
        external, prepared, split, choices, allow_missing=allow_missing, embedded=embedded, cautions=cautions
    )
    result = {"run": str(file), "data": str(data.resolve()), **evaluation.result}
    if run:
        result["baselines_from"] = str(run.folder)
    stored = store_evaluation(evaluations_of(place) / split, evaluation, result)
    warn_of_lasting(evaluation.result, stored)
    return stored


def _embed(registry: Registry, run: Run, prepared: Prepared, split: str) -> tuple[EmbeddedSplit, list[str]]:
    """Embed a split by a run's encoders. Also return the cautions about the run's training data.

    Raises VsrError if the images of the split have another size or resizing than the run's.
    """
    from ..config.schema import FeatureOptions
    from ..evaluation.embeddings import embed_split
    from ..evaluation.evaluate import check_preparation
    from ..model.weights import choose_device, load_model
    from ..workflows.evaluation import training_data

    check_preparation(prepared, run.config())
    device = choose_device("auto")
    training, cautions = training_data(run, prepared)
    embedded = embed_split(
        load_model(run, registry).to(device).eval(),
        prepared,
        split,
        training=training,
        device=device,
        options=FeatureOptions(**run.config()["features"]),
    )
    return embedded, cautions


def show_score(place: Path, split: str) -> None:
    """Print the table as Markdown, or as one that fits where the terminal is too narrow, and what is missing."""
    from ..report.markdown import markdown
    from ..report.score_table import score_table
    from ..runs.results import open_evaluated

    evaluated = open_evaluated(place, split)
    lines = markdown(evaluated, {}).rstrip().split("\n")
    rows = [number for number, line in enumerate(lines) if line.startswith("|")]
    folded = console.is_terminal and any(cell_len(lines[number]) > console.width for number in rows)
    for number, line in enumerate(lines):
        if not folded or number not in rows:
            console.print(line, soft_wrap=True)
        elif number == rows[0]:
            console.print(score_table(evaluated.result["metrics"], width=console.width))
    if missing := evaluated.result["missing"]:
        without = f"{counted(missing, 'window')} without a prediction"
        warn(f"not scored: {without}, so these scores are not comparable to others")
