"""From the options of a command to the layers of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..console import warn
from ..errors import VsrError, collect_errors

if TYPE_CHECKING:
    from ..api import Decoding
    from ..config.experiment import TrainConfig
    from ..config.resolve import Choice, Layer
    from ..plugin.registry import Registry
    from ..runs.run import Run

Resolved = TypeVar("Resolved")
EMBEDDED = "storyworld"
"""The dataset that needs no files: it is prepared where no source is named."""
PRESET_OF_DATASET = {EMBEDDED: ("tiny", "embedded stories"), "story-reasoning": ("reference", "StoryReasoning")}
OWN_STORIES = ("laptop", "stories of your own")
"""The default preset of any other dataset, and what it is for."""
TEXT_METRICS = ("bleu", "bleu-lower", "rouge", "meteor")
IMAGE_METRICS = ("mse", "ssim", "sharpness", "diversity-image")
"""The last two beside the first, which a gray ghost of the last image wins."""
DEFAULT_METRICS = (*TEXT_METRICS, *IMAGE_METRICS)
METRICS_OF_DATASET = {EMBEDDED: ("place", "time", "characters")}
"""More defaults, where a dataset's images can be read."""
COMPANIONS = {"bleu": "bleu-lower"}
"""Metrics that are always shown with another one: published scores of BLEU are of either case."""
EVALUATION_SECTIONS = ("metrics", "decoding")
ALL = "all"
"""In place of metrics' names: all that are installed."""


def default_preset(dataset: str) -> tuple[str, str]:
    """Return the preset that a dataset is prepared with unless one is named, and what it is the default for."""
    return PRESET_OF_DATASET.get(dataset, OWN_STORIES)


def open_with_options(
    run: Path | None,
    layers: Sequence[Layer],
    resolve: Callable[[Sequence[Layer]], Resolved],
    *,
    others: Callable[[], Sequence[str]] = list,
) -> tuple[Run, Resolved]:
    """Open a run, and resolve the options of a command on top of the run's own decoding.

    Raises VsrError with all mistakes in the options; or if there is no such run. Without a run, `others` searches for
    further mistakes.
    """
    from ..config.experiment import decoding_layer
    from ..runs.opening import open_run

    try:
        opened = open_run(run)
    except VsrError as error:
        mistakes = collect_errors(lambda: resolve(layers))
        raise VsrError(*(mistakes or error.lines), *others()) from error
    base = decoding_layer(decoding_of(opened), where=f"{opened.folder}/config.json")
    return opened, resolve([base, *layers])


def open_to_predict(
    registry: Registry,
    run: Path | None,
    stories: Sequence[Path],
    *,
    flags: Mapping[str, Any],
    assignments: Sequence[str] | None,
) -> tuple[Run, Decoding]:
    """Open a run, and resolve the decoding of a command that predicts stories.

    Raises VsrError with all mistakes in the options, and in the stories too if there is no such run.
    """
    from ..config.experiment import resolve_decoding
    from ..config.resolve import parse_set
    from ..inference.story_folders import open_reader, read_stories

    return open_with_options(
        run,
        [*flag_layers(flags), *parse_set(assignments or [])],
        lambda layers: resolve_decoding(registry, layers),
        others=lambda: read_stories(open_reader(registry), stories)[1],
    )


def decoding_of(run: Run) -> Decoding:
    """Return a run's own decoding. Raises VsrError if its configuration is damaged there."""
    from ..config.experiment import own_decoding

    return own_decoding(run.config(), where=f"{run.folder}/config.json")


def load_registry() -> Registry:
    """Discover the plugins, with one warning line for each broken one."""
    from ..plugin import discovery

    registry = discovery.registry()
    for broken in registry.broken:
        warn(f"plugin {broken.plugin} ({broken.distribution}) is not used: {broken.reason}")
    return registry


def comma_separated(values: Iterable[str]) -> list[str]:
    """Take "a,b" and "a" "b" alike, in order and each once."""
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    return list(dict.fromkeys(names))


def metric_names(
    registry: Registry, typed: Sequence[str] | None, *, default: Sequence[str] = DEFAULT_METRICS
) -> list[str]:
    """Return the metrics that --metrics means; `default` where it is not typed."""
    names = comma_separated(typed or default)
    if ALL in names:
        return registry.names("metrics")
    return list(dict.fromkeys(each for name in names for each in (name, COMPANIONS.get(name, name))))


def choose_metrics(registry: Registry, typed: Sequence[str] | None, assignments: Sequence[str] | None) -> list[Choice]:
    """Resolve --metrics and the options that --set gives them. Raises VsrError with all mistakes."""
    from ..config.experiment import resolve_metrics
    from ..config.resolve import parse_set

    return resolve_metrics(registry, metric_names(registry, typed), parse_set(assignments or []))


def metrics_of_dataset(registry: Registry, folder: Path) -> list[Choice]:
    """Return the default metrics that only the dataset of a prepared folder has. Raises VsrError if it is none."""
    from ..config.experiment import resolve_metrics
    from ..data.manifest import read_finished

    return resolve_metrics(registry, METRICS_OF_DATASET.get(read_finished(folder)["dataset"]["name"], ()), [])


def flag_layers(flags: Mapping[str, Any]) -> list[Layer]:
    """Return a layer for each flag that was given: {"temporal.name": "gru"} comes from --temporal gru."""
    from ..config.resolve import Layer

    return [Layer(typed, {path.split(".")[0]: {path.split(".")[1]: flags[path]}}) for path, typed in _typed(flags)]


FLAGS = {"data.group_csv": "groups", "features.compute": "precision"}
"""The options that are not named after their settings."""


def _typed(flags: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the path of each flag that was given, and the flag as it was typed."""
    found = []
    for path, value in flags.items():
        if value is not None:
            section, key = path.split(".")
            name = section if key in ("name", "method") else FLAGS.get(path, key)
            words = " ".join(value) if isinstance(value, list) else "" if value is True else value
            found.append((path, f"--{name.replace('_', '-')} {words}".rstrip()))
    return found


def typed_options(flags: Mapping[str, Any], others: Mapping[str, Any], assignments: Sequence[str] | None) -> list[str]:
    """Return the options that were given, as they were typed, for an error that refuses them."""
    return [
        *(words for _, words in _typed(flags)),
        *(f"{name} {value}" for name, value in others.items() if value is not None),
        *(f"--set {text}" for text in assignments or []),
    ]


def sorted_assignments(assignments: Sequence[str], *, trains: bool) -> tuple[list[str], list[str]]:
    """Divide the values of --set into those of the evaluation and those of the training.

    Unknown sections go to the training if there is one, whose error suggests the nearest name.
    """
    from ..config.experiment import TRAIN_SECTIONS

    of_training = []
    for text in assignments:
        section = text.partition("=")[0].strip().partition(".")[0].replace("-", "_")
        if section not in EVALUATION_SECTIONS and (trains or section in TRAIN_SECTIONS):
            of_training.append(text)
    return [text for text in assignments if text not in of_training], of_training


def train_config(
    registry: Registry,
    *,
    manifest: Mapping[str, Any] | None,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    further: Sequence[Layer] = (),
) -> TrainConfig:
    """Resolve a train command.

    From the lowest layer up: the preset (named, or the configuration file's, or the one that the data was
    prepared with; without data, that of the embedded stories, which are then prepared), the encoders that the data was
    prepared with unless a preset was named, the file, the flags, `--set`, and `further` layers, the Python API's.
    """
    from ..config.experiment import resolve_train
    from ..config.resolve import Layer, parse_set, preset_layer, preset_of_file, read_config_file

    file_layers = [read_config_file(config)] if config else []
    chosen = preset or (preset_of_file(config) if config else None)
    data_layers: list[Layer] = []
    if manifest is not None and chosen is None:
        prepared_with = {section: manifest[section] for section in ("visual", "text", "features")}
        data_layers = [Layer("the prepared data", prepared_with)]
        chosen = manifest["preset"]
    chosen = chosen or default_preset(EMBEDDED)[0]
    layers = [preset_layer(chosen), *data_layers, *file_layers, *flag_layers(flags), *parse_set(assignments)]
    return resolve_train(registry, preset=chosen, layers=[*layers, *further])


def resolve_train_command(
    registry: Registry,
    folder: Path | None,
    *,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    further: Sequence[Layer] = (),
) -> TrainConfig:
    """Resolve a train command on prepared data, or on what will be prepared where there is nothing yet (None).

    Raises VsrError with all mistakes; where the data itself is one, with what else is missing as far as that is known.
    """
    from ..plugin.requirements import provide

    typed: dict[str, Any] = {"preset": preset, "config": config, "flags": flags, "assignments": assignments}
    typed["further"] = further
    try:
        manifest = _manifest_to_train_on(folder) if folder else None
    except VsrError as error:
        if preset is None and config is None:
            raise  # what else is wrong depends on the data
        settings: list[TrainConfig] = []
        lines = collect_errors(lambda: settings.append(train_config(registry, manifest=None, **typed)))
        provide([choice for each in settings for choice in each.parts.items()], mistakes=[*error.lines, *lines])
        raise
    return train_config(registry, manifest=manifest, **typed)


def _manifest_to_train_on(folder: Path) -> dict[str, Any]:
    """Return the manifest of prepared data. Raises VsrError if the folder does not exist or was not prepared."""
    from ..data.manifest import read_finished

    if not folder.is_dir():
        raise VsrError(f"--data {folder}: there is no such folder; name one that 'vsr prepare' wrote")
    return read_finished(folder)
