"""What training starts from: the model, new or from a checkpoint, and its splits with their features."""

from __future__ import annotations

from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object

from ..api import TrainingFrames
from ..config.experiment import TrainConfig
from ..console import say
from ..data.cache.extraction import frozen_features, warn_truncated_texts
from ..data.known_words import KNOWN_WORDS, KnownWords
from ..data.prepared import Prepared
from ..errors import VsrError
from ..model.building import build_model, save_assets
from ..model.frozen_store import FrozenStore, build_frozen_halves, pending_halves, release_frozen_half
from ..model.loss_means import Split, open_split
from ..model.story_model import StoryModel
from ..model.weights import parameter_counts, rebuild_model, save_weights
from ..runs.run import FROZEN, Run
from .distributed import main_process_first, resumes_everywhere, worker_group
from .fit_statistics import fit_to_training, training_frames


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What training starts from."""

    model: StoryModel
    training: Split
    validation: Split
    resuming: bool
    """Whether the model's weights are those of the run's last checkpoint."""


def set_up(config: TrainConfig, prepared: Prepared, run: Run, accelerator: Accelerator) -> Setup:
    """Build the model or load it from the last checkpoint, compute the features, and open the splits.

    Writes what a run stores once: assets and frozen weights. Raises VsrError if there is nothing to train on.
    """
    _check_splits(config, prepared)
    device = accelerator.device
    resuming = resumes_everywhere(run, prepared)
    with main_process_first(accelerator):
        if resuming:
            model = rebuild_model(
                run, config, image_size=prepared.image_size, steps=prepared.context_frames, which="last"
            )
        else:
            model = build_model(
                config,
                image_size=prepared.image_size,
                steps=prepared.context_frames,
                training_texts=prepared.training_texts,
                store=FrozenStore(options=config.features),
            )
        model.to(device)
    _check_best_metric(config, model)
    for caution in model.cautions:
        say(f"note: {caution}")
    features = frozen_features(
        prepared,
        model.visual,
        model.text,
        device=device,
        options=config.features,
        splits=("train", "validation"),
        workers=worker_group(accelerator),
    )
    if not resuming:
        if config.parts["text"].record() != prepared.manifest["text"]:  # 'vsr prepare' has warned of that encoder's
            warn_truncated_texts(features.tokens)
        frames = training_frames(model, prepared, features, device=device)
        fit_to_training(model, frames)
    for section, cached in (("visual", features.visual), ("text", features.text)):
        if cached is not None:
            release_frozen_half(model, section)
    _build_halves_alike(model, accelerator)
    if not resuming and accelerator.is_main_process:
        save_assets(model, run.assets)
        for section, half in run.record_halves(dict(pending_halves(model))).items():
            getattr(model, section).pending = half  # the cache may be pruned during the training
        save_weights(model, run.folder / FROZEN, frozen=True)
        _save_known_words(model, frames, run, context_frames=prepared.context_frames)
        run.update(parameters=parameter_counts(model))
        run.record_checksums()
    training, validation = (
        open_split(model, prepared, split, features, device=device) for split in ("train", "validation")
    )
    return Setup(model=model, training=training, validation=validation, resuming=resuming)


def _save_known_words(model: StoryModel, frames: TrainingFrames, run: Run, *, context_frames: int) -> None:
    """Store the words of the training texts, unless the text decoder needs none of them."""
    if getattr(model.text_decoder, "open_vocabulary", False):
        return
    words = KnownWords.of(frames.texts, frames.story.tolist(), context_frames=context_frames)
    words.save(run.assets / KNOWN_WORDS)


def _build_halves_alike(model: StoryModel, accelerator: Accelerator) -> None:
    """Build the frozen halves in every process if one has built them: weights must be the same everywhere.

    The machines of a training have caches of their own, of which one may be full.
    """
    pending = sorted(section for section, _ in pending_halves(model))
    if accelerator.num_processes > 1 and any(each != pending for each in gather_object([pending])):
        build_frozen_halves(model)


def _check_splits(config: TrainConfig, prepared: Prepared) -> None:
    """Raise VsrError if there is nothing to train on, or to watch."""
    options = config.training
    if not len(prepared.windows("train")):
        raise VsrError(f"{prepared.folder}: no window is in the train split; prepare more stories")
    if options.patience and not len(prepared.windows("validation")):
        raise VsrError(f"training.patience: {prepared.folder} has no validation split to watch; set it to 0")


def _check_best_metric(config: TrainConfig, model: StoryModel) -> None:
    """Raise VsrError if the watched loss is not measured."""
    watched = config.training.best_metric
    if watched in ("loss", *model.terms):
        return
    reason, remedy = "is measured only where it has a weight", f"add --set objective.{watched}=1"
    if config.objective.weights[watched]:
        reason, remedy = "is not measured, as nothing of the image decoder trains", "set it to text"
    raise VsrError(f"training.best_metric: {watched} {reason}; {remedy}")
