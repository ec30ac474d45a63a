"""Settings in layers, each overriding the one before, and what results when they are put on top of each other.

Every mistake in all of the layers is collected before any is reported. Imports neither torch nor a plugin's heavy code.
"""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..api import Options, open_text
from ..api.decoding import METHODS_THAT_USE
from ..errors import VsrError, initials, nearest
from ..files.home import expand_home, is_home_path
from ..files.strict_json import SEAL, from_json
from ..plugin.kinds import KIND_OF
from ..plugin.registry import Provided, Registry
from .presets import preset_names, read_preset
from .renamed import COMPONENTS, SETTINGS, VALUES
from .schema import SETTABLE

EXAMPLE = "for example --set training.epochs=3"
ChosenOptions = TypeVar("ChosenOptions", bound=Options)


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
        """Return what a configuration file says of it: its name and all of its options."""
        return {"name": self.name, **self.options.model_dump(mode="json")}


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from: {section: {key: value}}."""

    where: str
    values: Mapping[str, Mapping[str, Any]]
    mistake: str | None = None
    """What is wrong with the layer itself, to be reported with all the other mistakes."""
    for_command: bool = False
    """Whether it was given to this very command, as --set is, so that a section of another command is a mistake."""


def preset_layer(name: str) -> Layer:
    """Read a preset. Raises VsrError if there is none of this name."""
    return Layer(f"preset {name}", {key: value for key, value in read_preset(name).items() if isinstance(value, dict)})


def read_config_file(path: Path) -> Layer:
    """Read settings from a TOML or JSON file. Raises VsrError if it is neither or holds no sections."""
    values = _read_settings(path)
    values.pop("preset", None)  # the resolved configuration names it; `preset_of_file` reads it
    values.pop(SEAL, None)  # of a run's config.json, which whoever takes it for settings may have changed
    if not all(isinstance(section, dict) for section in values.values()):
        raise VsrError(f"--config {path}: holds something other than sections; see 'vsr config show' for the form")
    return Layer(f"--config {path}", values)


def preset_of_file(path: Path) -> str | None:
    """Return the preset that a configuration file names, if any. Raises VsrError if there is none of that name."""
    preset = _read_settings(path).get("preset")
    if preset is not None and preset not in preset_names():
        raise VsrError(f"--config {path}: preset {preset!r}: does not exist; {nearest(str(preset), preset_names())}")
    return preset


def _read_settings(path: Path) -> dict[str, Any]:
    form = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        with open_text(path) as file:
            text = file.read()
        values = from_json(text) if form == "JSON" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise VsrError(f"--config {path}: there is no such file") from error
    except (OSError, ValueError, RecursionError, EOFError, zlib.error) as error:  # the last two: of a damaged .gz
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
            if not section.startswith("metrics."):  # the names of metrics have hyphens
                section = section.replace("-", "_")
            values = {section: {key.replace("-", "_"): _parse_value(value)}}
            layers.append(Layer(f"--set {text}", values, for_command=True))
        else:
            example = f"did you mean {_place_of(place.strip())}={value}?" if _place_of(place.strip()) else EXAMPLE
            mistake = f"--set {text}: not of the form section.key=value; {example}"
            layers.append(Layer(f"--set {text}", {}, mistake))
    return layers


def _place_of(key: str) -> str | None:
    """Return the place of the program's own setting that has this name, or whose words begin with its letters."""
    name = key.replace("-", "_")
    places = [(f"{section}.{each}", each) for section, model in SETTABLE.items() for each in model.model_fields]
    exact = [place for place, each in places if each == name]
    return next(iter(exact + [place for place, each in places if initials(each) == name]), None)


def _parse_value(text: str) -> Any:
    """Leave words and numbers to the option's own type; read only what no plain word can say."""
    if text == "null" or text[:1] in "[{":
        try:
            return from_json(text)
        except ValueError:
            return text
    return text


class Resolver:
    """Puts layers on top of each other and checks what results, collecting every mistake."""

    def __init__(
        self,
        registry: Registry,
        sections: Sequence[str],
        layers: Iterable[Layer],
        *,
        elsewhere: Collection[str] = (),
    ) -> None:
        """Take the sections of a command and the layers; `elsewhere` names the sections of other commands."""
        self._registry = registry
        self._elsewhere = elsewhere
        self._mistakes: list[str] = []
        self._values: dict[str, dict[str, tuple[Any, str]]] = {section: {} for section in sections}
        for layer in layers:
            self._put(layer)

    def _put(self, layer: Layer) -> None:
        if layer.mistake:
            self._mistakes.append(layer.mistake)
        for section, values in layer.values.items():
            if section not in self._values:
                if new := COMPONENTS["metrics"].get(section.removeprefix("metrics.")):
                    self._mistakes.append(
                        f"{layer.where}: metric {section.removeprefix('metrics.')} is now called {new}"
                    )
                    continue
                known_elsewhere = section in self._elsewhere
                if known_elsewhere and not layer.for_command:
                    continue  # a preset or a file may serve several commands
                hint = "this command does not use it; it uses: " + ", ".join(self._values)
                self._mistakes.append(
                    f"{layer.where}: section '{section}': "
                    + (hint if known_elsewhere else f"unknown; {nearest(section, self._values)}")
                )
                continue
            values = self._without_renamed(section, values, layer.where)
            current = self._values[section]
            name = values.get("name")
            if name is not None and section in KIND_OF and current.get("name", (None,))[0] != name:
                current.clear()  # options belong to the component that they were given to
            if section == "decoding" and "method" in values and current.get("method", (None,))[0] != values["method"]:
                # So do those of a decoding method, except typed ones, and those that the new method uses as well: a
                # run whose texts are sampled at a low temperature needs it for single samples, too.
                kept = {
                    key: value
                    for key, value in current.items()
                    if value[1].startswith("--") or values["method"] in METHODS_THAT_USE.get(key, ())
                }
                current.clear()
                current.update(kept)
            current.update({key: (self._expanded(value, layer.where), layer.where) for key, value in values.items()})

    def _without_renamed(self, section: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the settings that have a current name and value; note each that was renamed as a mistake."""
        current = {}
        for key, value in values.items():
            path = f"{section}.{key}"
            if new := SETTINGS.get(path):
                self._mistakes.append(f"{where}: {path} is now called {new}")
            elif isinstance(value, str) and (new := VALUES.get(path, {}).get(value)):
                self._mistakes.append(f"{where}: the value {value} of {path} is now called {new}")
            else:
                current[key] = value
        return current

    def _expanded(self, value: Any, where: str) -> Any:
        """Return a path from a home folder written out; any other value as it is."""
        if not isinstance(value, str) or not is_home_path(value):
            return value
        try:
            return expand_home(value)
        except VsrError as error:
            self._mistakes.append(f"{where}: {error}")
            return value

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
            self._mistakes += error.lines
            return None
        options = self._validate(section, provided.component.options, values)
        return Choice(provided, options) if options is not None else None

    def options(self, section: str, model: type[ChosenOptions]) -> ChosenOptions | None:
        """Resolve a section that is not a component, or note what is wrong and give None."""
        return self._validate(section, model, {key: value for key, (value, _) in self._values[section].items()})

    def finish(self) -> None:
        """Raise one VsrError with a line for each mistake, if there was any."""
        if self._mistakes:
            raise VsrError(*self._mistakes)

    def _owner(self, section: str) -> str:
        """Return what the options of a section are for: "text decoder lm", or the section if it is no component."""
        kind = KIND_OF.get(section.partition(".")[0])
        name = self._values[section].get("name", (None, ""))[0]
        return f"{kind.title} {name}" if kind and name else section

    def _validate(self, section: str, model: type[ChosenOptions], values: Mapping[str, Any]) -> ChosenOptions | None:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for item in error.errors():
                if not item["loc"]:  # of several options together, which may come from several layers
                    self._mistakes.append(f"{section}: {item['msg']}")
                    continue
                key = str(item["loc"][0])
                where = self._values[section].get(key, (None, section))[1]
                prefix = "" if where.startswith("--set") else f"{section}.{key}: "
                if item["type"] == "extra_forbidden":
                    what = f"{self._owner(section)} has no option '{key}'; {nearest(key, model.model_fields)}"
                else:
                    what = f"{item['msg'][:1].lower()}{item['msg'][1:]} (given: {item['input']!r})"
                line = f"{where}: {prefix}{what}"
                if line not in self._mistakes:
                    self._mistakes.append(line)
            return None
