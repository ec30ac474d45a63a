"""What the commands `prepare`, `train` and `evaluate` do, as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

from ..api import Story
from ..config.choices import Compute, Precision, Resize, ShortStories, Split, SplitBy, Window
from ..config.experiment import decoding_layer, resolve_evaluation
from ..data.manifest import read_finished
from ..errors import VsrError
from ..training.graceful_shutdown import Interrupted
from ..workflows.evaluation import data_of, run_evaluate
from ..workflows.preparation import default_folder, run_prepare
from ..workflows.settings import load_registry, metric_names, metrics_of_dataset, resolve_train_command
from ..workflows.stories import default_dataset, find_data, prepare_config, unseen_stories
from ..workflows.training import resume_train, run_train
from .model import DecodingOptions, Model, load
from .results import EvaluationResult
from .settings import layers_of, path_of, reporting_errors, whole

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder. It can be used wherever a path can."""

    folder: Path
    manifest: Mapping[str, Any]
    """What was prepared and how: the content of manifest.json."""

    @property
    def windows(self) -> dict[str, int]:
        """The number of windows of each split."""
        return dict(self.manifest["counts"]["windows_kept"])

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"PreparedData({str(self.folder)!r}, windows={self.windows})"


def example_stories(count: int = 3) -> list[Story]:
    """Return stories of the embedded dataset that models are not trained on, to predict and to continue.

    Each has five frames or more, with `image` (the bytes of a file) and `text`: the fifth is what was to be predicted
    with `from_frame=4`.
    """
    count = whole(count)
    if not isinstance(count, int) or not 1 <= count <= 1000:
        raise VsrError(f"count: not a number from 1 to 1000 (got {count!r})")
    with reporting_errors():
        return unseen_stories(load_registry(), count)


def prepare(
    source: PathLike | None = None,
    *,
    out: PathLike | None = None,
    dataset: str | None = None,
    preset: str | None = None,
    limit: int | None = None,
    window: Window | None = None,
    short_stories: ShortStories | None = None,
    resize: Resize | None = None,
    split: SplitBy | None = None,
    groups: PathLike | None = None,
    visual: str | None = None,
    text: str | None = None,
    precision: Compute | None = None,
    settings: Mapping[str, Any] | None = None,
) -> PreparedData:
    """Read stories, split them, and store images, texts and frozen features, as `vsr prepare` does.

    Args:
        source: A folder of story folders, a .jsonl or .csv file, or a dataset's id on the Hub. Default: the embedded
            stories.
        out: The folder to write. Default: one under data/, named after the source.
        dataset: The dataset that reads the source, where it is not clear.
        preset: The settings to start from. Default: "tiny" for the embedded stories, "laptop" for stories of your own.
        limit: How many stories to read; 0 reads all.
        window, short_stories, resize, split, groups, visual, text, precision: As the options of the command.
        settings: Any other settings, such as {"data.image_size": 128}.

    Raises:
        VsrError: The stories or a setting cannot be used; one line per mistake.
    """
    with reporting_errors():
        registry = load_registry()
        where = None if source is None else str(path_of(source, "source"))
        name = dataset or default_dataset(where)
        arguments = {
            "window": ("data.window", window),
            "short_stories": ("data.short_stories", short_stories),
            "resize": ("data.resize", resize),
            "split": ("data.split", split),
            "groups": ("data.group_csv", None if groups is None else path_of(groups, "groups")),
            "visual": ("visual.name", visual),
            "text": ("text.name", text),
            "precision": ("features.compute", precision),
        }
        config = prepare_config(
            registry,
            dataset=name,
            preset=preset,
            flags={"data.limit": limit},
            assignments=[],
            further=layers_of(arguments, settings),
        )
        folder = default_folder(where, name) if out is None else path_of(out, "out")
        prepared = run_prepare(config, where, folder)
        return PreparedData(prepared.folder, prepared.manifest)


def train(
    data: PathLike | None = None,
    *,
    out: PathLike | None = None,
    preset: str | None = None,
    config: PathLike | None = None,
    visual: str | None = None,
    text: str | None = None,
    fusion: str | None = None,
    temporal: str | None = None,
    text_decoder: str | None = None,
    image_decoder: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Train a model into a run folder, as `vsr train` does, and return it. Its folder is `model.run`.

    Args:
        data: A prepared folder. Default: the newest under data/.
        out: The run folder. Default: a new one under runs/.
        preset: The settings to start from. Default: that of the data.
        config: A file of settings, TOML or JSON.
        visual, text, fusion, temporal, text_decoder, image_decoder: The components, by name.
        epochs, batch_size, precision, device: As in the section "training" of the settings.
        settings: Any other settings, such as {"temporal.layers": 2, "training.learning_rate": 3e-3}.

    Raises:
        VsrError: The data or a setting cannot be used; one line per mistake.
        KeyboardInterrupt: Training was interrupted, after a checkpoint; `resume` goes on.
    """
    with reporting_errors():
        registry = load_registry()
        folder = find_data(None if data is None else path_of(data, "data"))
        if folder is None:
            raise VsrError("data: nothing is prepared under data/; call vsr.prepare(MY_STORIES), or name a folder")
        arguments = {
            **{
                name: (f"{name}.name", value)
                for name, value in (
                    ("visual", visual),
                    ("text", text),
                    ("fusion", fusion),
                    ("temporal", temporal),
                    ("text_decoder", text_decoder),
                    ("image_decoder", image_decoder),
                )
            },
            "epochs": ("training.epochs", epochs),
            "batch_size": ("training.batch_size", batch_size),
            "precision": ("training.precision", precision),
            "device": ("training.device", device),
        }
        resolved = resolve_train_command(
            registry,
            folder,
            preset=preset,
            config=None if config is None else path_of(config, "config"),
            flags={},
            assignments=[],
            further=layers_of(arguments, settings),
        )
        try:
            run = run_train(resolved, folder, None if out is None else path_of(out, "out"))
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
    return load(run.folder, device=device or "auto")


def resume(
    run: PathLike,
    *,
    data: PathLike | None = None,
    epochs: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> Model:
    """Resume the training of a run with its own settings, as `vsr train --resume` does, and return the model.

    Args:
        run: The run folder.
        data: The run's data, where it was moved.
        epochs: More epochs than the run has.
        device: Where the model is then loaded; it trains where it did before.
    """
    epochs = whole(epochs)
    if epochs is not None and not isinstance(epochs, int):
        raise VsrError(f"epochs: not a whole number (got {epochs!r})")
    with reporting_errors():
        try:
            done = resume_train(
                load_registry(),
                path_of(run, "run"),
                data=None if data is None else path_of(data, "data"),
                epochs=epochs,
            )
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
    return load(done.folder, device=device)


def evaluate(
    model: Model,
    *,
    data: PathLike | None = None,
    split: Split = "test",
    metrics: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    **decoding: Unpack[DecodingOptions],
) -> EvaluationResult:
    """Score a model on a held-out split, each score beside its baselines, as `vsr evaluate` does.

    The result, the predictions and storyboards are stored in the run folder.

    Args:
        model: The model, with its best weights.
        data: A prepared folder. Default: the one that the model was trained on.
        split: "test", "validation", or "train", which the model was trained on.
        metrics: Their names, or ["all"]. Default: those of `vsr evaluate`.
        settings: Options of metrics, such as {"metrics.bleu.smooth": "floor"}.
        **decoding: As in `Model.predict`.

    Raises:
        VsrError: The data, a metric or a setting cannot be used; one line per mistake.
    """
    if not isinstance(model, Model):
        raise VsrError(f"model: not a model (got {type(model).__name__}); load it with vsr.load(RUN)")
    if metrics is not None and (isinstance(metrics, str) or not all(isinstance(name, str) for name in metrics)):
        remedy = f"[{metrics!r}]" if isinstance(metrics, str) else "names such as ['bleu']"
        raise VsrError(f"metrics: not a list of names (got {metrics!r}); pass {remedy}")
    with reporting_errors():
        registry, predictor = load_registry(), model._predictor
        run = predictor.run
        if predictor.checkpoint != run.which_checkpoint():
            raise VsrError(f"{run.folder}: the last checkpoint is loaded, and the best one is scored; load that")
        if data is not None:
            read_finished(path_of(data, "data"))
        layers = [
            decoding_layer(predictor.decoding, where=f"{run.folder}/config.json"),
            *layers_of({name: (f"decoding.{name}", value) for name, value in decoding.items()}, settings),
        ]
        choices, how = resolve_evaluation(registry, metric_names(registry, metrics), layers)
        folder = data_of(run, None if data is None else path_of(data, "data"))
        choices = choices if metrics else [*choices, *metrics_of_dataset(registry, folder)]
        device = str(predictor.device)
        return EvaluationResult(run_evaluate(registry, run, folder, split, choices, decoding=how, device=device))
