"""`vsr evaluate`: scores, each beside its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from ..api import Decoding
from ..config.resolve import Choice
from ..config.schema import FeatureOptions
from ..console import out as console
from ..console import styled, warn
from ..errors import VsrError
from ..plugin.registry import Registry
from ..report.formatting import legend, marks, verdict_mark
from ..report.tables import Cell, Column, fitting_table
from ..runs.results import STORYBOARDS, evaluations_of, lock_evaluation
from ..runs.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..data.prepared import Prepared
    from ..evaluation.evaluate import Evaluation
    from ..model.story_model import StoryModel

DEFAULT_METRICS = ("bleu", "rouge", "meteor")
GREEDY = Decoding()
ALL = "all"
"""In place of metrics' names: every one that is installed."""
COMMON = 4
"""The baselines that every metric has, and that have columns."""
SHOWN = 6
"""How many windows are drawn as storyboards."""


def data_of(run: Run, folder: Path | None) -> Path:
    """Return the data to evaluate on: the folder named, or the one that the run was trained on."""
    trained_on = Path(run.facts()["data"])
    if folder is None and not trained_on.is_dir():
        raise VsrError(f"{trained_on}: the data that {run.folder} was trained on is not there; name it with --data DIR")
    return folder or trained_on


def evaluation_folder(place: Path, split: str, decoding: Decoding) -> Path:
    """Return where an evaluation of a run is stored. Each decoding has a folder: none replaces what another wrote."""
    return evaluations_of(place) / (split if decoding == GREEDY else f"{split}-{decoding.label()}")


def run_evaluate(
    found: Registry, run: Run, data: Path, split: str, metrics: Sequence[Choice], *, decoding: Decoding = GREEDY
) -> dict[str, Any]:
    """Score a run, store the result with its predictions and images in the run folder, and return what is stored.

    What was stored before for the same weights, data and decoding is part of it. Raises VsrError if another process
    writes the same evaluation.
    """
    folder = evaluation_folder(run.folder, split, decoding)
    with lock_evaluation(folder):
        return _evaluate(found, run, data, split, metrics, decoding=decoding, folder=folder)


def _evaluate(
    found: Registry, run: Run, data: Path, split: str, metrics: Sequence[Choice], *, decoding: Decoding, folder: Path
) -> dict[str, Any]:
    from ..data.prepared import open_prepared
    from ..evaluation.evaluate import check_preparation, evaluate
    from ..evaluation.model_predictions import Part
    from ..evaluation.storage import store_evaluation
    from ..model.weights import choose_device

    prepared = open_prepared(data)
    check_preparation(prepared, run.config())
    checkpoint = run.weights_digest()
    model = load_checked(found, run, checkpoint)
    training, cautions = training_data(run, prepared)
    evaluation = evaluate(
        [Part(prepared, training, lambda: model)],
        prepared,
        split,
        metrics,
        decoding=decoding,
        device=choose_device("auto"),
        feature_options=FeatureOptions(**run.config()["features"]),
        checkpoint=checkpoint,
        cautions=cautions,
    )
    result = {"run": str(run.folder), "data": str(data), **evaluation.result}
    stored = store_evaluation(folder, evaluation, result, draw=partial(draw_shown, prepared, evaluation))
    warn_of_lasting(evaluation.result, stored)
    return stored


def load_checked(found: Registry, run: Run, checkpoint: str) -> StoryModel:
    """Load the best weights of a run. Raises VsrError if they are not those of this digest."""
    from ..model.weights import load_model

    model = load_model(run, found)
    if run.weights_digest() != checkpoint:
        raise VsrError(f"{run.folder}: its best checkpoint was replaced while it was read; evaluate again")
    return model


def warn_of_lasting(scored: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Warn of metrics that could not run now and whose stored scores stay."""
    for name, cell in scored["metrics"].items():
        if "unavailable" in cell and "unavailable" not in stored["metrics"][name]:
            warn(f"{cell['unavailable']} (the score that was stored before stays)")


def training_data(run: Run, prepared: Prepared) -> tuple[Prepared, list[str]]:
    """Open the data that a run learned from; where it is not there as it was, the next best, and the caution of that.

    The next best is what lies in its place now, else the data that is scored.
    """
    from ..data.prepared import open_prepared

    folder = Path(run.facts()["data"])
    same = folder.resolve() == prepared.folder.resolve() or not folder.is_dir()
    training = prepared if same else open_prepared(folder)
    learned = run.config()["data"]["fingerprint"]
    if training.fingerprint == learned:
        return training, []
    if prepared.fingerprint == learned:
        return prepared, []
    return training, [
        f"{folder}, which the run learned from, is gone or was prepared anew: "
        "stories that it learned from may be among those scored"
    ]


def show_result(result: dict[str, Any], folder: Path) -> None:
    """Print the table, and where the pictures are."""
    title = f"{result['split']} split: {result['stories']} stories, {result['windows']} windows, free-running"
    title += f", {result['decoding']['method']}"
    if not result["held_out"]:
        title += ", of the split that the model learned from: no result"
    console.print(styled("[bold]{}[/bold]", title), soft_wrap=True)
    console.print(score_table(result["metrics"], width=console.width))
    for name, score in result["metrics"].items():
        if "scale" in score:
            console.print(f"{name}: {_words(score)}", markup=False)
    console.print("below each score: its 95 % interval over stories", soft_wrap=True)
    console.print(f"beside each baseline: {legend('it', encoding=console.encoding)}", markup=False, soft_wrap=True)
    for caution in result["cautions"]:
        warn(caution)
    for score in result["metrics"].values():
        if caution := score.get("unavailable") or score.get("caution"):
            warn(caution)
    reasons = {baseline["unavailable"] for _, baseline in _baselines(result["metrics"]) if "unavailable" in baseline}
    for reason in sorted(reasons):
        warn(f"a baseline is missing: {reason}")
    left_out = {name: count for name, count in result["leaks"].items() if count and name != "left_out"}
    if left_out:
        listed = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in left_out.items())
        console.print(f"left out of the scores: {result['leaks']['left_out']} windows ({listed})")
    console.print(f"references longer than the decoder can write: {result['truncated_references']:.0%}, scored whole")
    forced = result["teacher_forced"]
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in forced["losses"].items())
    perplexity = "beyond all bounds" if forced["perplexity"] is None else f"{forced['perplexity']:.4g}"
    console.print(f"teacher-forced, no score: perplexity {perplexity} a token; losses: {losses}")
    console.print(f"signature {result['signature']}", markup=False, soft_wrap=True)
    console.print(f"pictures  {folder / STORYBOARDS}", markup=False, soft_wrap=True)


def score_table(metrics: Mapping[str, Any], *, width: int) -> RenderableType:
    """Make the table of scores, a row for each metric: its score and interval, what it is compared with, its bound."""
    baselines = _common_baselines(metrics)
    there = [score if "value" in score else None for score in metrics.values()]
    columns = [
        Column("metric", list(metrics), justify="left"),
        Column("model", [_score_cell(score) if score else "unavailable" for score in there]),
        *(
            Column(baseline, [_baseline_cell(score["baselines"].get(baseline)) if score else "" for score in there])
            for baseline in baselines
        ),
        Column(
            "upper bound",
            ["" if not score or score["upper_bound"] is None else f"{score['upper_bound']:.4g}" for score in there],
            rank=1,
        ),
    ]
    return fitting_table(columns, width=width)


def _score_cell(score: Mapping[str, Any]) -> Text:
    between = "–" if score["ci95"] is None else "{:.3g}..{:.3g}".format(*score["ci95"])
    return styled("{}\n[dim]{}[/dim]", f"{score['value']:.4g}", between)


def _baselines(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for score in metrics.values():
        yield from score.get("baselines", {}).items()


def _common_baselines(metrics: Mapping[str, Any]) -> list[str]:
    """Name the baselines that every metric has; the others would not fit the width."""
    scored = [score["baselines"] for score in metrics.values() if "baselines" in score]
    return [name for name in scored[0] if all(name in baselines for baselines in scored)][:COMMON] if scored else []


def _words(score: Mapping[str, Any]) -> str:
    """Say of a metric what stands in no column: its scale, its other scores, its other baselines."""
    words = [score["scale"]]
    words += [f"{name} {value:.4g}" for name, value in score["components"].items() if value is not None]
    others = list(score["baselines"].items())[COMMON:]
    return "; ".join([*words, *(f"baseline {name} {_plain_cell(baseline)}" for name, baseline in others)])


def _plain_cell(baseline: Mapping[str, Any]) -> str:
    return (
        "unavailable" if "value" not in baseline else f"{baseline['value']:.4g} {_mark(baseline['verdict'])}".rstrip()
    )


def _mark(verdict: str | None) -> str:
    return marks(console.encoding)[verdict]


def _baseline_cell(baseline: Mapping[str, Any] | None) -> Cell:
    if baseline is None:
        return ""
    if "unavailable" in baseline:
        return "unavailable"
    return Text(f"{baseline['value']:.4g} ") + verdict_mark(baseline["verdict"], encoding=console.encoding)


def draw_shown(prepared: Prepared, evaluation: Evaluation, path: Path) -> None:
    """Draw some of the scored windows, evenly chosen, as storyboards in one image."""
    from PIL import Image

    from ..data.images import unfit_image
    from ..report.storyboard import context_panel, draw_storyboard, predicted_panel, save_image, true_panel

    facts = prepared.image_facts

    def shown(pixels: NDArray[np.uint8], row: int) -> Image.Image:
        """Show a square in the proportions of the picture in a row."""
        width, height = int(facts.width[row]), int(facts.height[row])
        return unfit_image(Image.fromarray(pixels), width=width, height=height, resize=prepared.resize)

    rows = []
    count = len(evaluation.windows)
    for index in np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int).tolist():
        text, image = evaluation.predictions[index]["prediction"], evaluation.images.gather(np.array([index]))[0]
        image_rows = evaluation.windows.image_rows[index]
        pictures = list(map(shown, prepared.frames.images.gather(image_rows), image_rows))
        captions = [prepared.frames.texts[row] for row in evaluation.windows.text_rows[index]]
        start = int(evaluation.windows.starts[index]) + 1
        row = [context_panel(start + k, pictures[k], captions[k]) for k in range(len(pictures) - 1)]
        row.append(true_panel(pictures[-1], captions[-1]))
        row.append(predicted_panel(shown(image, image_rows[-2]), text))
        rows.append(row)
    save_image(draw_storyboard(rows), path)
