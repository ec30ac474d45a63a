"""From what a person typed to a complete, checked configuration. Imports neither torch nor a plugin's heavy code.

A configuration is built from layers, each overriding the one before: the preset, what the prepared data was made
with, a file, the flags, `--set`. Every mistake in all of them is collected before any is reported.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from .api import Options
from .errors import VsrError, nearest
from .plugin.kinds import KIND_OF, MODEL_PARTS
from .plugin.registry import Provided, Registry

CONTEXT_FRAMES = 4
"""K: a story is told in four frames, and the fifth is predicted."""

ChosenOptions = TypeVar("ChosenOptions", bound=Options)


class DataOptions(Options):
    """How stories become windows and pictures become arrays."""

    image_size: int = Field(224, ge=16, le=1024, description="height and width of a prepared image, in pixels")
    window: Literal["first", "sliding", "last"] = Field(
        "first", description="which five consecutive frames of a story: the first, every five, or the last"
    )
    short: Literal["drop", "pad"] = Field(
        "drop",
        description="a story of two to four frames: leave it out, or repeat its last context frame to fill the context",
    )
    limit: int = Field(0, ge=0, description="how many stories to read; 0 reads all")
    validation: float = Field(0.1, ge=0, lt=1, description="share of the stories held out for validation")
    test: float = Field(0.1, ge=0, lt=1, description="share of the stories held out for the test")
    seed: int = Field(0, description="decides which stories fall into which split")


class ModelOptions(Options):
    """What the parts of the model share."""

    width: int = Field(256, ge=8, description="D, the width of every embedding and state")


class ObjectiveOptions(Options):
    """The weight of each term of the loss."""

    text: float = Field(1.0, ge=0, description="cross-entropy of the next text")
    image: float = Field(1.0, ge=0, description="error of the next image")
    alignment: float = Field(0.5, ge=0, description="contrastive loss between each frame's image and text")


class TrainingOptions(Options):
    """How the model is trained."""

    epochs: int = Field(10, ge=1, description="passes over the training windows")
    batch_size: int = Field(16, ge=1, description="windows a step")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's step size at its highest")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps over which the rate rises from zero")
    schedule: Literal["constant", "cosine"] = Field("constant", description="the rate after the warm-up")
    clip_gradient: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")
    seed: int = Field(0, description="of the initial weights and of the order of the windows")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["auto", "no", "bf16", "fp16"] = Field(
        "auto", description="mixed precision: auto is bf16 on a GPU that has it, else none"
    )


COMMON: dict[str, type[Options]] = {
    "data": DataOptions,
    "model": ModelOptions,
    "objective": ObjectiveOptions,
    "training": TrainingOptions,
}


@dataclass(frozen=True)
class Choice:
    """A component chosen by name, with its options."""

    provided: Provided
    options: Options

    @property
    def name(self) -> str:
        """The component's name."""
        return self.provided.component.name

    def record(self) -> dict[str, Any]:
        """Give what a configuration file says of it: its name and all of its options."""
        return {"name": self.name, **self.options.model_dump(mode="json")}


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from: {section: {key: value}}."""

    where: str
    values: Mapping[str, Mapping[str, Any]]
    mistake: str | None = None
    """What is wrong with the layer itself, to be reported with all the other mistakes."""


@dataclass(frozen=True)
class PrepareConfig:
    """All that `vsr prepare` depends on, but the source's contents."""

    preset: str
    dataset: Choice
    data: DataOptions
    model: ModelOptions
    visual: Choice
    text: Choice


@dataclass(frozen=True)
class TrainConfig:
    """All that `vsr train` depends on, but the prepared data."""

    preset: str
    parts: Mapping[str, Choice]
    """The chosen components by section, in the order of MODEL_PARTS."""
    model: ModelOptions
    objective: ObjectiveOptions
    training: TrainingOptions

    def record(self) -> dict[str, Any]:
        """Give the whole of it as a run folder's config.json has it."""
        return {
            "preset": self.preset,
            **{section: choice.record() for section, choice in self.parts.items()},
            "model": self.model.model_dump(mode="json"),
            "objective": self.objective.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
        }


PREPARE_SECTIONS = ("dataset", "data", "model", "visual", "text")
TRAIN_SECTIONS = (*MODEL_PARTS, "model", "objective", "training")


def presets() -> list[str]:
    """Give the names of the presets."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _preset_folder().iterdir() if entry.name.endswith(".toml")
    )


def preset_layer(name: str) -> Layer:
    """Read a preset. Raises VsrError if there is none of this name."""
    if name not in presets():
        raise VsrError(f"preset '{name}': there is none of this name; {nearest(name, presets())}")
    values = tomllib.loads((_preset_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    return Layer(f"preset {name}", values)


def _preset_folder() -> Any:
    return files("vsr_cli") / "presets"


def read_config_file(path: Path) -> Layer:
    """Read settings from a TOML or JSON file. Raises VsrError if it is neither or holds no sections."""
    values = _read_settings(path)
    values.pop("preset", None)  # the resolved configuration names it; `preset_of_file` reads it
    if not all(isinstance(section, dict) for section in values.values()):
        raise VsrError(f"--config {path}: holds something other than sections; see 'vsr config show' for the form")
    return Layer(f"--config {path}", values)


def preset_of_file(path: Path) -> str | None:
    """Give the preset that a configuration file names, if any. Raises VsrError if there is none of that name."""
    preset = _read_settings(path).get("preset")
    if preset is not None and preset not in presets():
        raise VsrError(f"--config {path}: preset {preset!r}: there is none; {nearest(str(preset), presets())}")
    return preset


def _read_settings(path: Path) -> dict[str, Any]:
    form = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if form == "JSON" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise VsrError(f"--config {path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise VsrError(f"--config {path}: not readable as {form} ({error}); correct it") from error
    if not isinstance(values, dict):
        raise VsrError(f"--config {path}: holds something other than sections; see 'vsr config show' for the form")
    return values


def parse_set(assignments: Iterable[str]) -> list[Layer]:
    """Parse `--set section.key=value`. One of another form becomes a layer that says so."""
    layers: list[Layer] = []
    for text in assignments:
        place, equals, value = text.partition("=")
        section, dot, key = place.strip().rpartition(".")
        if equals and dot and section and key:
            values = {section.replace("-", "_"): {key.replace("-", "_"): _parse_value(value)}}
            layers.append(Layer(f"--set {text}", values))
        else:
            mistake = f"--set {text}: not of the form section.key=value, e.g. --set training.epochs=3"
            layers.append(Layer(f"--set {text}", {}, mistake))
    return layers


def _parse_value(text: str) -> Any:
    """Leave words and numbers to the option's own type; read only what no plain word can say."""
    if text == "null" or text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


class Resolver:
    """Puts layers on top of each other and checks what results, collecting every mistake."""

    def __init__(self, registry: Registry, sections: Sequence[str], layers: Iterable[Layer]) -> None:
        self._registry = registry
        self._mistakes: list[str] = []
        self._values: dict[str, dict[str, tuple[Any, str]]] = {section: {} for section in sections}
        for layer in layers:
            self._put(layer)

    def _put(self, layer: Layer) -> None:
        if layer.mistake:
            self._mistakes.append(layer.mistake)
        for section, values in layer.values.items():
            if section not in self._values:
                known_elsewhere = section in {*TRAIN_SECTIONS, *PREPARE_SECTIONS, "limit"}
                if known_elsewhere and not layer.where.startswith("--set"):
                    continue  # a preset or a file may serve several commands
                hint = "this command does not use it; it uses: " + ", ".join(self._values)
                self._mistakes.append(
                    f"{layer.where}: section '{section}': "
                    + (hint if known_elsewhere else f"unknown; {nearest(section, self._values)}")
                )
                continue
            current = self._values[section]
            name = values.get("name")
            if name is not None and section in KIND_OF and current.get("name", (None,))[0] != name:
                current.clear()  # options belong to the component that they were given to
            current.update({key: (value, layer.where) for key, value in values.items()})

    def choice(self, section: str) -> Choice | None:
        """Resolve a component and its options, or note what is wrong and give None."""
        values = {key: value for key, (value, _) in self._values[section].items()}
        name = values.pop("name", None)
        kind = KIND_OF[section.partition(".")[0]]
        if not isinstance(name, str):
            self._mistakes.append(f"{kind.title}: none is named; choose one with {kind.flag} NAME")
            return None
        try:
            provided = self._registry.find(kind.section, name)
        except VsrError as error:
            self._mistakes.append(str(error))
            return None
        options = self._validate(section, provided.component.options, values)
        return Choice(provided, options) if options is not None else None

    def options(self, section: str, model: type[ChosenOptions]) -> ChosenOptions | None:
        """Resolve a section that is not a component, or note what is wrong and give None."""
        return self._validate(section, model, {key: value for key, (value, _) in self._values[section].items()})

    def finish(self) -> None:
        """Raise one VsrError with a line for each mistake, if there was any."""
        if self._mistakes:
            raise VsrError("\n".join(self._mistakes))

    def _validate(self, section: str, model: type[ChosenOptions], values: Mapping[str, Any]) -> ChosenOptions | None:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for item in error.errors():
                key = str(item["loc"][0]) if item["loc"] else ""
                where = self._values[section].get(key, (None, section))[1]
                prefix = "" if where.startswith("--set") else f"{section}.{key}: "
                if item["type"] == "extra_forbidden":
                    what = f"{section} has no option '{key}'; {nearest(key, model.model_fields)}"
                else:
                    what = f"{item['msg'][:1].lower()}{item['msg'][1:]} (given: {item['input']!r})"
                line = f"{where}: {prefix}{what}"
                if line not in self._mistakes:
                    self._mistakes.append(line)
            return None


def resolve_prepare(registry: Registry, *, preset: str, layers: Sequence[Layer]) -> PrepareConfig:
    """Resolve the configuration of `vsr prepare`. Raises VsrError with all mistakes."""
    resolver = Resolver(registry, PREPARE_SECTIONS, layers)
    dataset, visual, text = (resolver.choice(section) for section in ("dataset", "visual", "text"))
    data, model = resolver.options("data", DataOptions), resolver.options("model", ModelOptions)
    resolver.finish()
    assert dataset
    assert visual
    assert text
    assert data
    assert model
    return PrepareConfig(preset=preset, dataset=dataset, data=data, model=model, visual=visual, text=text)


def resolve_train(registry: Registry, *, preset: str, layers: Sequence[Layer]) -> TrainConfig:
    """Resolve the configuration of `vsr train`. Raises VsrError with all mistakes."""
    resolver = Resolver(registry, TRAIN_SECTIONS, layers)
    chosen = {section: resolver.choice(section) for section in MODEL_PARTS}
    model = resolver.options("model", ModelOptions)
    objective = resolver.options("objective", ObjectiveOptions)
    training = resolver.options("training", TrainingOptions)
    resolver.finish()
    assert model
    assert objective
    assert training
    parts = {section: choice for section, choice in chosen.items() if choice}
    return TrainConfig(preset=preset, parts=parts, model=model, objective=objective, training=training)


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
        lines = [f"{where}: {line}; the run was trained with {packages}" for line in str(error).splitlines()]
        raise VsrError("\n".join(lines)) from error


def resolve_metrics(registry: Registry, names: Sequence[str], layers: Sequence[Layer]) -> list[Choice]:
    """Resolve metrics by name, with options from `--set metrics.NAME.key=value`. Raises VsrError with all mistakes."""
    sections = [f"metrics.{name}" for name in names]
    named = [Layer("--metrics", {f"metrics.{name}": {"name": name}}) for name in names]
    resolver = Resolver(registry, sections, [*named, *layers])
    choices = [resolver.choice(section) for section in sections]
    resolver.finish()
    return [choice for choice in choices if choice]
