"""External predictions: reading a JSONL file of another system's predictions, and scoring them.

    {"story": "812", "window": 0, "text": "…", "image": "images/812-0.png"}

`window` is the index of its first frame in the story, from 0; `image` is a path beside the file. Either may be absent.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, SpaceMetric, find_file, nfc, open_text, undecodable
from ..config.choices import Resize
from ..config.resolve import Choice
from ..data.images import read_image
from ..data.prepared import Prepared
from ..data.shards import ArrayRows, ChosenRows, Rows
from ..errors import VsrError
from ..files.checksums import file_checksum
from ..files.strict_json import from_json, to_json
from ..quantities import counted
from ..runs.results import SHORT
from .baselines import best_context, copy_last, shuffled_context, training_baselines
from .embeddings import EmbeddedSplit, Unavailable
from .evaluate import Evaluation, caution, finish, signature_facts
from .leakage import Audit, audit
from .model_predictions import Predicted
from .normalize import clean_text
from .predictions import Predictions, References
from .scoring import Task, check_available, open_task

NO_RUN = Unavailable("needs the encoders of a run; name one with --run RUN")

FORM = '{"story": "…", "window": 0, "text": "…", "image": "PATH"}'
OWN_NAMES = {"start": "window", "prediction": "text"}
"""The names in the predictions.jsonl of `vsr evaluate`, which is read too."""
Window = tuple[str, int]
"""A story, and the index of the window's first frame in it."""


@dataclass(frozen=True)
class ExternalPredictions:
    """The predictions of a file, by window."""

    path: Path
    texts: dict[Window, str]
    """As in the file; empty where it has no texts."""
    images: dict[Window, Path]
    """Empty where the file has no images."""

    @property
    def windows(self) -> Collection[Window]:
        """All windows that are predicted."""
        return self.texts.keys() | self.images.keys()

    def digest(self) -> str:
        """Return a digest of all predicted texts and images, which identifies what a result scored."""
        found = hashlib.sha256()
        for window in sorted(self.windows):
            image = file_checksum(self.images[window]) if window in self.images else None
            found.update(to_json([*window, self.texts.get(window), image]).encode())
        return found.hexdigest()


@dataclass(frozen=True)
class ImageFiles:
    """Image files as rows (n, size, size, 3) uint8, resized like the data's and read on demand."""

    paths: list[Path]
    size: int
    resize: Resize

    def __len__(self) -> int:
        return len(self.paths)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read some images. Raises VsrError if one cannot be used."""
        read = [
            read_image(self.paths[row], where=str(self.paths[row]), size=self.size, resize=self.resize).pixels
            for row in rows.ravel().tolist()
        ]
        return np.stack(read).reshape(*rows.shape, self.size, self.size, 3)


def read_external(path: Path, known: Collection[Window]) -> ExternalPredictions:
    """Read a file of predictions of `known` windows.

    Raises VsrError if a line has another format, a window is repeated or unknown, an image is missing, or only some
    windows have a text or an image.
    """
    texts: dict[Window, str] = {}
    images: dict[Window, Path] = {}
    seen: dict[Window, int] = {}
    twice: list[int] = []
    unknown: list[int] = []
    absent: list[int] = []
    why = ""
    for number, record in _records(path):
        window = _window(record, where=f"{path}, line {number}")
        if window in seen:
            twice.append(number)
        elif window not in known:
            unknown.append(number)
        seen[window] = number
        if record.get("text") is not None:
            texts[window] = record["text"]
        if record.get("image") is not None:
            image = find_file(path.parent, record["image"])
            if isinstance(image, Path):
                images[window] = image
            elif image.outside:
                what = f"image is outside of the folder of the file (got {record['image']!r})"
                raise VsrError(f"{path}, line {number}: {what}; put it beside the file")
            else:
                absent.append(number)
                why = why or image.why
    for lines, what, remedy in (
        (twice, "of a window that an earlier line predicts", "keep one line per window"),
        (unknown, "of a window that is not in the split", "check --data, --split and the windows' numbers, from 0"),
        (absent, "with an image that does not exist", f"{why}; write its path relative to the file"),
    ):
        if lines:
            raise VsrError(f"{path}: {counted(len(lines), 'line')} {what} (the first: line {lines[0]}); {remedy}")
    for what, found in (("text", texts), ("image", images)):
        if found and len(found) < len(seen):
            without = len(seen) - len(found)
            raise VsrError(f"{path}: {counted(without, 'line')} without {what}; write it on every line or on none")
    if not seen:
        raise VsrError(f"{path}: has no prediction; write one JSON object per line: {FORM}")
    if not texts and not images:
        raise VsrError(f"{path}: has neither a text nor an image; write one JSON object per line: {FORM}")
    return ExternalPredictions(path, texts, images)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _record(line, where=f"{path}, line {number}")
    except FileNotFoundError as error:
        raise VsrError(f"{path}: there is no such file; name one with a JSON object per line: {FORM}") from error
    except UnicodeDecodeError as error:
        raise VsrError(f"{path}: {undecodable(path)}; write one JSON object per line: {FORM}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VsrError(f"{path}: the file is truncated or damaged; copy it again") from error


def _record(line: str, *, where: str) -> dict[str, Any]:
    try:
        record = from_json(line)
    except ValueError as error:
        raise VsrError(f"{where}: is not JSON ({error}); write it as {FORM}") from error
    if not isinstance(record, dict):
        raise VsrError(f"{where}: is not a JSON object; write it as {FORM}")
    for own, name in OWN_NAMES.items():
        if own in record and name not in record:
            record[name] = record[own]
    for key in ("text", "image"):
        if not isinstance(record.get(key), str | None):
            raise VsrError(f"{where}: {key} is not a string (got {record[key]!r}); write it as {FORM}")
    return record


def _window(record: dict[str, Any], *, where: str) -> Window:
    story, window = record.get("story"), record.get("window")
    if not isinstance(story, str):
        raise VsrError(f"{where}: story is not a string (got {story!r}); write the line as {FORM}")
    if not isinstance(window, int) or isinstance(window, bool):
        raise VsrError(f"{where}: window is not a whole number (got {window!r}); write the line as {FORM}")
    return nfc(story), window


def windows_of(prepared: Prepared, split: str) -> list[Window]:
    """Return the windows of a split by story and first frame."""
    windows = prepared.windows(split)
    return list(zip(windows.stories, windows.starts.tolist(), strict=True))


def score_external(
    external: ExternalPredictions,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    allow_missing: bool,
    embedded: EmbeddedSplit | None = None,
    cautions: Sequence[str] = (),
) -> Evaluation:
    """Score predictions of a split's windows as `evaluate` scores a run's.

    Windows that leak are left out whether they are predicted or not. `embedded` is the split in the spaces of a run,
    whose training data serve for baselines; without it these are unavailable. Raises VsrError if a window is missing,
    unless that is allowed, if none is left, or if no metric can run.
    """
    training = embedded.training if embedded else prepared
    found = audit(prepared, split, training=training)
    rows, missing = _predicted_rows(external, prepared, split, found, allow_missing=allow_missing)
    task = open_task(prepared, split, prepared.windows(split).take(rows), choices)
    keys = list(zip(task.windows.stories, task.windows.starts.tolist(), strict=True))
    images: Rows = ImageFiles(
        [external.images[key] for key in keys if external.images], prepared.image_size, prepared.resize
    )
    # Without images or texts, placeholders: metrics that would read them are unavailable.
    blank = ChosenRows(
        ArrayRows(np.zeros((1, *(prepared.image_size,) * 2, 3), np.uint8)), np.zeros(len(keys), np.int64)
    )
    texts = [clean_text(external.texts.get(key, "")) for key in keys]
    predictions = Predictions(texts, images if external.images else blank)
    task = _without_unusable(task, external)
    check_available(task.metrics, task.unavailable)
    predicted = Predicted(
        {
            "model": predictions,
            "copy-last": copy_last(task.references, prepared.frames, task.windows, None),
            "best-context": best_context(task.references, prepared.frames, task.windows, None),
            **(
                training_baselines(embedded, rows, in_spaces=False)
                if embedded
                else {"nearest-neighbor": NO_RUN, "mean": NO_RUN}
            ),
            "shuffled-context": shuffled_context(predictions, task.windows.stories),
            "upper_bound": Predictions(task.references.texts, task.references.images),
        },
        with_images=bool(external.images),
    )
    facts = signature_facts(
        task,
        mode="external",
        counts={"missing": missing} if missing else {},
        training=training.fingerprint,
        model={f"space.{name}": value for name, value in embedded.spaces.signature.items()} if embedded else {},
    )
    facts["predictions"] = external.digest()[:SHORT]
    record = {
        "checkpoint": None,
        "missing": missing,
        "cautions": [*caution(task, "predict and score more stories"), *cautions],
        "decoding": None,
        "leaks": found.record(),
        "teacher_forced": None,
    }
    return replace(finish(task, choices, predicted, facts=facts, record=record, leaks=found.leaks), images=images)


def _predicted_rows(
    external: ExternalPredictions, prepared: Prepared, split: str, found: Audit, *, allow_missing: bool
) -> tuple[NDArray[np.int64], int]:
    """Return the rows of the windows that are scored, and how many that should be are not predicted."""
    everything = windows_of(prepared, split)
    rows = [row for row in found.scored.tolist() if everything[row] in external.windows]
    missing = len(found.scored) - len(rows)
    if missing and not allow_missing:
        story, start = next(everything[row] for row in found.scored.tolist() if everything[row] not in external.windows)
        raise VsrError(
            f"{external.path}: {missing} of {len(found.scored)} windows are missing (the first: story {story!r}, "
            f"window {start}); add them, or score the others with --allow-missing"
        )
    if not rows:
        raise VsrError(
            f"{external.path}: predicts no window of the {split} split that can be scored; see 'vsr data lint'"
        )
    return np.asarray(rows, dtype=np.int64), missing


def _without_unusable(task: Task, external: ExternalPredictions) -> Task:
    """Return the task without the metrics that need what these predictions do not have."""
    metrics: dict[str, Metric] = {}
    unavailable = dict(task.unavailable)
    for name, metric in task.metrics.items():
        if isinstance(metric, SpaceMetric):
            unavailable[name] = f"{name}: compares in a run's own spaces, and these predictions come from no run"
        elif not external.images and _reads(metric, task.references, images=True):
            unavailable[name] = f"{name}: reads images, and {external.path} has none; add an image to every line"
        elif not external.texts and _reads(metric, task.references, images=False):
            unavailable[name] = f"{name}: reads texts, and {external.path} has none; add a text to every line"
        else:
            metrics[name] = metric
    return replace(task, metrics=metrics, unavailable=unavailable)


def _reads(metric: Metric, references: References, *, images: bool) -> bool:
    """Return whether the statistics change if only the predicted image changes, or only the text."""
    one = np.zeros(1, np.int64)
    true: NDArray[np.uint8] = references.images.gather(one)
    pixels = [np.zeros_like(true), np.full_like(true, 255), true] if images else [true]
    texts = [references.texts[0]] if images else ["", "nothing of the kind", references.texts[0]]
    measured = [
        metric.measure(references.samples(Predictions([text], ArrayRows(image)), one))
        for image in pixels
        for text in texts
    ]
    return any(not np.array_equal(rows, measured[0], equal_nan=True) for rows in measured[1:])
