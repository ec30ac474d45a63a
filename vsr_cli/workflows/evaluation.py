"""Evaluate a run and store the result in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..api import Decoding
from ..config.resolve import Choice
from ..config.schema import FeatureOptions
from ..console import warn
from ..data.prepared import Prepared, open_prepared
from ..errors import VsrError
from ..files.atomic import whole_folder
from ..plugin.registry import Registry
from ..runs.results import evaluations_of, lock_evaluation, names_on, read_stored
from ..runs.run import Run
from .settings import decoding_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..evaluation.evaluate import Evaluation
    from ..model.story_model import StoryModel

SHOWN = 6
"""How many windows are drawn as storyboards."""


def data_of(run: Run, folder: Path | None) -> Path:
    """Return the data to evaluate on: the folder named, or the one that the run was trained on."""
    trained_on = Path(run.facts()["data"])
    if folder is None and not trained_on.is_dir():
        raise VsrError(f"{trained_on}: the data of {run.folder} is not here; name its folder with --data DIR")
    return folder or trained_on


def evaluation_folder(place: Path, split: str, decoding: Decoding, *, own: Decoding) -> Path:
    """Return where an evaluation of a run is stored. Each decoding has a folder: none replaces what another wrote.

    `own` is the decoding of the run's configuration, whose folder has the plain name of the split.
    """
    return evaluations_of(place) / (split if decoding == own else f"{split}-{decoding.label()}")


def folder_of_run(run: Run, split: str, decoding: Decoding, data: Path) -> Path:
    """Return where an evaluation of this run on some data is stored. No data replace what other data wrote.

    Other data than the run's own have their name in that of the folder, and their fingerprint where other data of the
    same name were there first.
    """
    own = evaluation_folder(run.folder, split, decoding, own=decoding_of(run))
    fingerprint = open_prepared(data).fingerprint
    at_its_path = data.resolve() == Path(run.facts()["data"]).resolve()
    if at_its_path or fingerprint == run.config()["data"]["fingerprint"]:
        return own
    plain, longer = (own.with_name(name) for name in names_on(own.name, data, fingerprint))
    return longer if whole_folder(longer).exists() or _is_of_others(run, plain, data, fingerprint) else plain


def _is_of_others(run: Run, folder: Path, data: Path, fingerprint: str) -> bool:
    try:
        stored = read_stored(run.folder, folder)
    except VsrError:
        return False  # damaged, or of another version: to be replaced
    return stored is not None and not stored.is_of(data, fingerprint)


def run_evaluate(
    registry: Registry,
    run: Run,
    data: Path,
    split: str,
    metrics: Sequence[Choice],
    *,
    decoding: Decoding | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Score a run, store the result with its predictions and images in the run folder, and return what is stored.

    What was stored before for the same weights, data and decoding is part of it. `decoding` is the run's own if it is
    None. Raises VsrError if another process writes the same evaluation.
    """
    decoding = decoding or decoding_of(run)
    folder = folder_of_run(run, split, decoding, data)
    with lock_evaluation(folder):
        return _evaluate(registry, run, data, split, metrics, decoding=decoding, folder=folder, device=device)


def _evaluate(
    registry: Registry,
    run: Run,
    data: Path,
    split: str,
    metrics: Sequence[Choice],
    *,
    decoding: Decoding,
    folder: Path,
    device: str,
) -> dict[str, Any]:
    from ..evaluation.evaluate import check_preparation, evaluate
    from ..evaluation.model_predictions import Part
    from ..evaluation.storage import store_evaluation
    from ..model.weights import choose_device

    prepared = open_prepared(data)
    check_preparation(prepared, run.config())
    checkpoint = run.weights_digest()
    model = load_checked(registry, run, checkpoint)
    training, cautions = training_data(run, prepared)
    evaluation = evaluate(
        [Part(prepared, training, lambda: model)],
        prepared,
        split,
        metrics,
        decoding=decoding,
        device=choose_device(device),
        feature_options=FeatureOptions(**run.config()["features"]),
        checkpoint=checkpoint,
        cautions=cautions,
    )
    result = {"run": str(run.folder), "data": str(data.resolve()), **evaluation.result}
    stored = store_evaluation(folder, evaluation, result, draw=partial(draw_shown, prepared, evaluation))
    warn_of_lasting(evaluation.result, stored)
    return stored


def load_checked(registry: Registry, run: Run, checkpoint: str) -> StoryModel:
    """Load the best weights of a run. Raises VsrError if they are not those of this digest."""
    from ..model.weights import load_model

    model = load_model(run, registry)
    if run.weights_digest() != checkpoint:
        raise VsrError(f"{run.folder}: its best checkpoint was replaced while it was read; run the command again")
    return model


def warn_of_lasting(scored: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Warn of metrics that cannot be computed now, and whose stored scores are reported instead."""
    for name, cell in scored["metrics"].items():
        if "unavailable" in cell and "unavailable" not in stored["metrics"][name]:
            warn(f"{cell['unavailable']} (the score stored before is reported)")


def training_data(run: Run, prepared: Prepared) -> tuple[Prepared, list[str]]:
    """Open the training data of a run; where it is not what it was, a substitute, with a caution.

    The substitute is what is in its place now, else the data that is scored.
    """

    folder = Path(run.facts()["data"])
    same = folder.resolve() == prepared.folder.resolve() or not folder.is_dir()
    training = prepared if same else open_prepared(folder)
    learned = run.config()["data"]["fingerprint"]
    if training.fingerprint == learned:
        return training, []
    if prepared.fingerprint == learned:
        return prepared, []
    return training, [
        f"{folder}, the training data of the run, is gone or was prepared anew, so stories that the run was trained on "
        "may be among those scored"
    ]


def draw_shown(prepared: Prepared, evaluation: Evaluation, path: Path) -> None:
    """Draw some of the scored windows, evenly chosen, as storyboards in one image."""
    from PIL import Image

    from ..data.images import unfit_image
    from ..report.storyboard import context_panel, draw_storyboard, predicted_panel, save_image, true_panel

    facts = prepared.image_facts

    def shown(pixels: NDArray[np.uint8], row: int) -> Image.Image:
        """Return a square image in the proportions of the image in a row."""
        width, height = int(facts.width[row]), int(facts.height[row])
        return unfit_image(Image.fromarray(pixels), width=width, height=height, resize=prepared.resize)

    rows = []
    count = len(evaluation.windows)
    for index in np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int).tolist():
        text, image = evaluation.predictions[index]["text"], evaluation.images.gather(np.array([index]))[0]
        image_rows = evaluation.windows.image_rows[index]
        images = list(map(shown, prepared.frames.images.gather(image_rows), image_rows))
        captions = [prepared.frames.texts[row] for row in evaluation.windows.text_rows[index]]
        start = int(evaluation.windows.starts[index]) + 1
        row = [context_panel(start + k, images[k], captions[k]) for k in range(len(images) - 1)]
        row.append(true_panel(images[-1], captions[-1]))
        row.append(predicted_panel(shown(image, image_rows[-2]), text))
        rows.append(row)
    save_image(draw_storyboard(rows), path)
