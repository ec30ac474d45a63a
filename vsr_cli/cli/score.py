"""`vsr score`: the protocol for anyone's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from ..config.resolve import Choice
from ..config.schema import FeatureOptions
from ..console import out as console
from ..console import warn
from ..errors import VsrError
from ..files.atomic import is_empty
from ..plugin.registry import Registry
from ..runs.results import evaluations_of, lock_evaluation
from ..runs.run import Run
from .evaluate import score_table, training_data, warn_of_lasting

if TYPE_CHECKING:
    from ..data.prepared import Prepared
    from ..evaluation.embeddings import EmbeddedSplit

SCORES = Path("scores")


def run_score(
    found: Registry,
    file: Path,
    data: Path,
    split: str,
    choices: Sequence[Choice],
    *,
    out: Path | None,
    allow_missing: bool,
    run: Run | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Score a file of predictions and keep the evaluation. Gives the folder that is like a run's, and the result.

    `run` is one whose spaces and training data serve for baselines; without it, those that need one are unavailable.
    Raises VsrError if the file or its windows are not as they should be, or the folder holds something else.
    """
    place = out or SCORES / file.stem
    if place.exists() and not is_empty(place) and not evaluations_of(place).is_dir():
        raise VsrError(f"--out {place}: holds something else than scores; name another folder, nothing is overwritten")
    if (place / "run.json").exists():
        raise VsrError(f"--out {place}: is a run, whose own evaluations stand there; name another folder")
    with lock_evaluation(evaluations_of(place) / split):
        result = _score(found, file, data, split, choices, place=place, allow_missing=allow_missing, run=run)
    return place, result


def _score(
    found: Registry,
    file: Path,
    data: Path,
    split: str,
    choices: Sequence[Choice],
    *,
    place: Path,
    allow_missing: bool,
    run: Run | None,
) -> dict[str, Any]:
    from ..data.prepared import open_prepared
    from ..evaluation.external_predictions import read_external, score_external, windows_of
    from ..evaluation.storage import store_evaluation

    prepared = open_prepared(data)
    external = read_external(file, windows_of(prepared, split))
    embedded, cautions = _embed(found, run, prepared, split) if run else (None, [])
    evaluation = score_external(
        external, prepared, split, choices, allow_missing=allow_missing, embedded=embedded, cautions=cautions
    )
    result = {"run": str(file), "data": str(data), **evaluation.result}
    if run:
        result["baselines_from"] = str(run.folder)
    stored = store_evaluation(evaluations_of(place) / split, evaluation, result)
    warn_of_lasting(evaluation.result, stored)
    return stored


def _embed(found: Registry, run: Run, prepared: Prepared, split: str) -> tuple[EmbeddedSplit, list[str]]:
    """Embed a split by a run's encoders. Also return the cautions about the run's training data.

    Raises VsrError if the split was prepared with other sizes than the run's data.
    """
    from ..evaluation.embeddings import embed_split
    from ..evaluation.evaluate import check_preparation
    from ..model.weights import choose_device, load_model

    check_preparation(prepared, run.config())
    device = choose_device("auto")
    training, cautions = training_data(run, prepared)
    embedded = embed_split(
        load_model(run, found).to(device).eval(),
        prepared,
        split,
        training=training,
        device=device,
        options=FeatureOptions(**run.config()["features"]),
    )
    return embedded, cautions


def show_score(place: Path, split: str) -> None:
    """Print the table as Markdown, and what is missing. On a terminal that is too narrow the table is one that fits."""
    from ..report.markdown import markdown
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
        warn(f"{missing} windows are not predicted and not scored; scores of other windows are not comparable to these")
