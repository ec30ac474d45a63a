"""Building the model of a configuration, when training starts and when a run is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..api import FrozenHalf, GenerativeImageDecoder, HasAssets
from ..config.experiment import TrainConfig
from ..config.schema import DataOptions
from ..errors import VsrError
from ..plugin.kinds import ENCODERS, KIND_OF
from .frozen_store import FrozenStore
from .losses.term import TermRequest, build_terms
from .parts import PROMISES, Parts, build_part, frozen_sample
from .story_model import StoryModel


def build_model(
    config: TrainConfig,
    *,
    image_size: int,
    training_texts: Callable[[], Iterable[str]] = tuple,
    assets: Path | None = None,
    steps: int = DataOptions.model_fields["context_frames"].default,
    halves: Mapping[str, FrozenHalf] = MappingProxyType({}),
    store: FrozenStore | None = None,
) -> StoryModel:
    """Build the model of a configuration. With the `assets` of a run nothing is downloaded or read but those.

    Encoders are built without the frozen `halves` of a run, by section, or those that `store` has in the cache.

    Raises VsrError if a part cannot be built, needs an objective without a weight, or ignores one that has a weight.
    """
    text_objective = config.objective.text_objective
    options: dict[str, Any] = {
        "width": config.model.width,
        "image_size": image_size,
        "training_texts": training_texts,
        "text_objective": text_objective,
        "assets": assets,
        "steps": steps,
    }
    built: dict[str, Any] = {}
    for section, choice in config.parts.items():
        encoder: dict[str, Any] = {"half": halves.get(section), "store": store} if section in ENCODERS else {}
        built[section] = build_part(section, choice, **options, **encoder)
        if section == "text":
            sample = frozen_sample(built["visual"], built["text"], image_size=image_size)
            options["vocabulary"] = built["text"].vocabulary
            options["visual_features"], options["text_features"] = (tuple(each.shape[1:]) for each in sample[:2])
    asking = [section for section, part in built.items() if getattr(part, "needs_next", False)]
    if asking and not config.objective.next_frame:
        choice = config.parts[asking[0]]
        raise VsrError(
            f"{KIND_OF[asking[0]].title} '{choice.name}': needs the objective 'next_frame', which has no weight; "
            "add --set objective.next_frame=1"
        )
    if not text_objective.is_plain and getattr(built["text_decoder"], "objective", None) != text_objective:
        raise VsrError(
            f"text decoder '{config.parts['text_decoder'].name}': its loss supports neither objective.label_smoothing "
            f"nor objective.unlikelihood (got {text_objective.label_smoothing} and {text_objective.unlikelihood}); set "
            "both to 0, or choose another, e.g. --text-decoder gru"
        )
    parts = Parts(**built)
    request = TermRequest(
        objective=config.objective,
        parts=parts,
        width=config.model.width,
        steps=steps,
        sample=sample,
        read_weights=assets is None,
    )
    terms = build_terms(request)
    comparing = [name for name, term in terms.items() if term.compares_images]
    if comparing and isinstance(parts.image_decoder, GenerativeImageDecoder):
        raise VsrError(
            f"image decoder '{config.parts['image_decoder'].name}': generates no image in training, which "
            f"objective.{comparing[0]} would compare with the true one (got {config.objective.weights[comparing[0]]:g})"
            f"; set {' and '.join(f'objective.{name}' for name in comparing)} to 0, or choose another, e.g. "
            "--image-decoder deconv"
        )
    return StoryModel(
        parts,
        config.objective,
        terms,
        names={section: choice.provided.described for section, choice in config.parts.items()},
        watched=not all(choice.provided.is_shipped for choice in config.parts.values()),  # those are checked
    )


def save_assets(model: StoryModel, assets: Path) -> None:
    """Write what each part needs beside its weights, such as a vocabulary, into one folder per part."""
    for section in PROMISES:
        part = getattr(model, section)
        folder = assets / section
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(part, HasAssets):
            part.save_assets(folder)
