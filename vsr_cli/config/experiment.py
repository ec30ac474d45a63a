"""From what a person typed to a complete, checked configuration. Imports neither torch nor a plugin's heavy code.

A configuration is built from layers, each overriding the one before: the preset, what the prepared data was made
with, a file, the flags, `--set`. Every mistake in all of them is collected before any is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..api import Decoding
from ..errors import VsrError
from ..plugin.kinds import MODEL_COMPONENTS
from ..plugin.registry import Registry
from .resolve import Choice, Layer, Resolver
from .schema import DataOptions, FeatureOptions, ModelOptions, ObjectiveOptions, TrainingOptions


@dataclass(frozen=True)
class PrepareConfig:
    """All that `vsr prepare` depends on, but the source's contents."""

    preset: str
    dataset: Choice
    data: DataOptions
    model: ModelOptions
    features: FeatureOptions
    visual: Choice
    text: Choice


@dataclass(frozen=True)
class TrainConfig:
    """All that `vsr train` depends on, but the prepared data."""

    preset: str
    parts: Mapping[str, Choice]
    """The chosen components by section, in the order of MODEL_COMPONENTS."""
    model: ModelOptions
    features: FeatureOptions
    objective: ObjectiveOptions
    training: TrainingOptions
    decoding: Decoding
    """How `vsr evaluate` and `vsr predict` generate texts, unless an option overrides it."""

    def record(self) -> dict[str, Any]:
        """Return the whole of it as a run folder's config.json has it."""
        return {
            "preset": self.preset,
            **{section: choice.record() for section, choice in self.parts.items()},
            "model": self.model.model_dump(mode="json"),
            "features": self.features.model_dump(mode="json"),
            "objective": self.objective.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "decoding": self.decoding.facts(),
        }


PREPARE_SECTIONS = ("dataset", "data", "model", "features", "visual", "text")
TRAIN_SECTIONS = (*MODEL_COMPONENTS, "model", "features", "objective", "training", "decoding")
ALL_SECTIONS = frozenset({*PREPARE_SECTIONS, *TRAIN_SECTIONS, "limit"})
"""What a preset or a configuration file may hold for one command or another."""


def resolve_prepare(registry: Registry, *, preset: str, layers: Sequence[Layer]) -> PrepareConfig:
    """Resolve the configuration of `vsr prepare`. Raises VsrError with all mistakes."""
    resolver = Resolver(registry, PREPARE_SECTIONS, layers, elsewhere=ALL_SECTIONS)
    dataset, visual, text = (resolver.choice(section) for section in ("dataset", "visual", "text"))
    data, model = resolver.options("data", DataOptions), resolver.options("model", ModelOptions)
    features = resolver.options("features", FeatureOptions)
    resolver.finish()
    assert dataset
    assert visual
    assert text
    assert data
    assert model
    assert features
    return PrepareConfig(
        preset=preset, dataset=dataset, data=data, model=model, features=features, visual=visual, text=text
    )


def resolve_train(registry: Registry, *, preset: str, layers: Sequence[Layer]) -> TrainConfig:
    """Resolve the configuration of `vsr train`. Raises VsrError with all mistakes."""
    resolver = Resolver(registry, TRAIN_SECTIONS, layers, elsewhere=ALL_SECTIONS)
    chosen = {section: resolver.choice(section) for section in MODEL_COMPONENTS}
    model = resolver.options("model", ModelOptions)
    features = resolver.options("features", FeatureOptions)
    objective = resolver.options("objective", ObjectiveOptions)
    training = resolver.options("training", TrainingOptions)
    decoding = resolver.options("decoding", Decoding)
    resolver.finish()
    assert model
    assert features
    assert objective
    assert training
    assert decoding
    parts = {section: choice for section, choice in chosen.items() if choice}
    return TrainConfig(
        preset=preset,
        parts=parts,
        model=model,
        features=features,
        objective=objective,
        training=training,
        decoding=decoding,
    )


def resolve_recorded(
    registry: Registry, record: Mapping[str, Any], *, where: str, distributions: Iterable[str]
) -> TrainConfig:
    """Resolve what a run's config.json recorded: it is complete, so no preset lies under it.

    Raises VsrError, naming the packages that the run was trained with, if a component is not installed.
    """
    values = {key: value for key, value in record.items() if isinstance(value, dict)}
    try:
        return resolve_train(registry, preset=str(record.get("preset")), layers=[Layer(where, values)])
    except VsrError as error:
        packages = ", ".join(sorted(set(distributions)))
        lines = [f"{where}: {line}; the run was trained with {packages}" for line in error.lines]
        raise VsrError(*lines) from error


def resolve_metrics(registry: Registry, names: Sequence[str], layers: Sequence[Layer]) -> list[Choice]:
    """Resolve metrics by name, with options from `--set metrics.NAME.key=value`. Raises VsrError with all mistakes."""
    resolver = Resolver(registry, _metric_sections(names), [*_named(names), *layers], elsewhere=ALL_SECTIONS)
    choices = [resolver.choice(section) for section in _metric_sections(names)]
    resolver.finish()
    return [choice for choice in choices if choice]


def resolve_evaluation(
    registry: Registry, names: Sequence[str], layers: Sequence[Layer]
) -> tuple[list[Choice], Decoding]:
    """Resolve metrics as `resolve_metrics` does, and how texts are written. Raises VsrError with all mistakes."""
    sections = [*_metric_sections(names), "decoding"]
    resolver = Resolver(registry, sections, [*_named(names), *layers], elsewhere=ALL_SECTIONS)
    choices = [resolver.choice(section) for section in _metric_sections(names)]
    decoding = resolver.options("decoding", Decoding)
    resolver.finish()
    assert decoding
    return [choice for choice in choices if choice], decoding


def own_decoding(config: Mapping[str, Any], *, where: str) -> Decoding:
    """Return the decoding of a run's config.json, which commands use unless an option overrides it.

    Raises VsrError, beginning with `where`, if it is none.
    """
    try:
        return Decoding.model_validate(config.get("decoding", {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise VsrError(f"{where}: decoding: {first['msg']}; restore the file, or train again") from error


def decoding_layer(decoding: Decoding, *, where: str) -> Layer:
    """Return the layer that lies under the options of a command."""
    return Layer(where, {"decoding": decoding.model_dump(include=set(decoding.facts()), exclude_defaults=True)})


def resolve_decoding(registry: Registry, layers: Sequence[Layer]) -> Decoding:
    """Resolve how texts are written, from `--set decoding.key=value`. Raises VsrError with all mistakes."""
    return resolve_evaluation(registry, [], layers)[1]


def _metric_sections(names: Sequence[str]) -> list[str]:
    return [f"metrics.{name}" for name in names]


def _named(names: Sequence[str]) -> list[Layer]:
    return [Layer("--metrics", {f"metrics.{name}": {"name": name}}) for name in names]
