"""`vsr prepare`: stories in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ..config import PrepareConfig, TrainingOptions, resolve_prepare
from ..console import out as console
from ..console import progress, say
from ..errors import VsrError
from ..layers import parse_set, preset_layer
from ..plugin.registry import Registry
from .settings import DEFAULT_PRESET, PRESET_OF_DATASET, flag_layers

if TYPE_CHECKING:
    from ..data.prepared import Prepared

DATASET_OF_SUFFIX = {".jsonl": "jsonl", ".csv": "csv", ".tsv": "csv"}
PROBLEMS_SHOWN = 5
"""In the terminal; all of them are in a file."""


def prepare_config(
    found: Registry, *, dataset: str, preset: str | None, flags: Mapping[str, Any], assignments: Sequence[str]
) -> PrepareConfig:
    """Resolve a prepare command; the preset's limit for this dataset holds unless --limit says otherwise."""
    chosen = preset or PRESET_OF_DATASET.get(dataset, DEFAULT_PRESET)
    base = preset_layer(chosen)
    limit = base.values.get("limit", {}).get(dataset, 0)
    if limit and flags.get("data.limit") is None:
        say(f"preset {chosen}: the first {limit} stories of {dataset}; --limit 0 reads all")
    named = {"dataset.name": dataset, "data.limit": limit} | {k: v for k, v in flags.items() if v is not None}
    return resolve_prepare(found, preset=chosen, layers=[base, *flag_layers(named), *parse_set(assignments)])


def default_dataset(source: str | None) -> str:
    """With no source, the embedded dataset is meant; a folder holds story folders; a file says by its ending."""
    if source is None:
        return "storyworld"
    if Path(source).is_file() and (dataset := DATASET_OF_SUFFIX.get(Path(source).suffix.lower())):
        return dataset
    if Path(source).exists():
        return "folder"
    raise VsrError(
        f"{source}: there is no such folder; name a folder of story folders, "
        "or say what it is with --dataset NAME (see 'vsr plugins list')"
    )


def default_folder(source: str | None, dataset: str) -> Path:
    """Name the prepared folder after its source."""
    from ..data.prepared import DATA

    name = Path(source).resolve().name if source and Path(source).exists() else dataset
    return DATA / (name or dataset)


def run_prepare(config: PrepareConfig, source: str | None, folder: Path) -> Prepared:
    """Read, check, cut, split and store the stories, then compute the encoders' frozen features."""
    import torch

    from ..data.features import frozen_features
    from ..data.preparing import prepare_stories
    from ..model.building import build_part
    from ..model.weights import choose_device
    from ..plugin.loading import build

    dataset = build(config.dataset.provided, config.dataset.options)
    facts = dataset.describe(source)
    if "licence" in facts:
        say(f"{config.dataset.name}: licence {facts['licence']}")
    if "download" in facts:
        say(f"{config.dataset.name}: downloads {facts['download']} once, into the Hugging Face cache")
    sizes: dict[str, Any] = {"width": config.model.width, "image_size": config.data.image_size}
    # Encoders of random weights are then those that a train command of the default seed builds.
    torch.manual_seed(TrainingOptions().seed)
    # Built before any story is read, so that weights which cannot be had cost no waiting.
    visual = build_part("visual", config.visual, training_texts=tuple, **sizes)
    with progress() as bar:
        task = bar.add_task("reading stories", total=config.data.limit or None)
        prepared = prepare_stories(config, dataset, source, folder, on_story=lambda: bar.advance(task))
    text = build_part("text", config.text, training_texts=prepared.training_texts, **sizes)
    for title, name, encoder in (("visual", config.visual.name, visual), ("text", config.text.name, text)):
        if encoder.cache_key is None:
            say(f"{title} encoder {name}: trains from its first layer, so there is nothing frozen to store")
    frozen_features(prepared, visual, text, device=choose_device("auto"))
    return prepared


def show_prepared(prepared: Prepared) -> None:
    """Print what was kept, what was dropped and why."""
    from ..data.shards import folder_bytes

    counts = prepared.manifest["counts"]
    table = Table(title=escape(f"prepared in {prepared.folder}"), title_justify="left")
    for column in ("", "train", "validation", "test", "all"):
        table.add_column(column, justify="left" if not column else "right")
    for what in ("stories", "windows"):
        kept = counts[f"{what}_kept"]
        table.add_row(what, *(str(count) for count in kept.values()), str(sum(kept.values())))
    console.print(table)
    console.print(
        f"{counts['frames']} frames, {counts['images']} distinct images, {counts['texts']} distinct texts, "
        f"{folder_bytes(prepared.folder) / 2**20:.0f} MiB"
    )
    for what in ("stories", "windows"):
        for reason, count in sorted(counts[f"{what}_dropped"].items()):
            console.print(f"dropped: {count} {what}, {reason.replace('_', ' ')}")
    if counts["problems"]:
        found = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in counts["problems"].items())
        path = prepared.folder / "problems.jsonl"
        console.print(f"found on the way: {found}; each is listed in {path}", markup=False, soft_wrap=True)
        with path.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, PROBLEMS_SHOWN):
                problem = json.loads(line)
                frame = "" if problem["frame"] is None else f", frame {problem['frame'] + 1}"
                console.print(f"  {problem['story']}{frame}: {problem['detail']}", markup=False, soft_wrap=True)
