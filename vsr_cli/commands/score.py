"""`vsr score`: the protocol for anyone's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..console import out as console
from ..console import warn
from ..errors import VsrError
from ..layers import Choice

SCORES = Path("scores")


def run_score(
    file: Path, data: Path, split: str, choices: Sequence[Choice], *, out: Path | None, allow_missing: bool
) -> tuple[Path, dict[str, Any]]:
    """Score a file of predictions and keep the evaluation. Gives the folder that is like a run's, and the result.

    Raises VsrError if the file or its windows are not as they should be, or the folder holds something else.
    """
    place = out or SCORES / file.stem
    if place.exists() and any(place.iterdir()) and not (place / "evaluations").is_dir():
        raise VsrError(f"--out {place}: holds something else than scores; name another folder, nothing is overwritten")
    if (place / "run.json").exists():
        raise VsrError(f"--out {place}: is a run, whose own evaluations stand there; name another folder")
    from ..data.prepared import open_prepared
    from ..evaluation.given import read_given
    from ..evaluation.keeping import keep_evaluation
    from ..evaluation.score import score_given, windows_of

    prepared = open_prepared(data)
    given = read_given(file, windows_of(prepared, split))
    evaluation = score_given(given, prepared, split, choices, allow_missing=allow_missing)
    result = {"run": str(file), "data": str(data), **evaluation.result}
    keep_evaluation(place / "evaluations" / split, evaluation, result)
    return place, result


def show_score(place: Path, split: str) -> None:
    """Print the table as Markdown, and what is missing."""
    from ..report.evaluated import open_evaluated
    from ..report.markdown import markdown

    evaluated = open_evaluated(place, split)
    console.print(markdown(evaluated, {}).rstrip(), markup=False, soft_wrap=True)
    if missing := evaluated.result["missing"]:
        warn(f"{missing} windows are not predicted and not scored; scores of other windows are not comparable to these")
