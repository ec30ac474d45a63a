"""Stories to work on: a prepared folder, or a source that a dataset reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TextColumn

from ..console import say
from ..distributed_env import is_main
from ..errors import VsrError, collect_errors
from ..files.atomic import scratch_folder
from ..progress import progress
from ..quantities import counted, size
from .settings import EMBEDDED, default_preset, flag_layers

if TYPE_CHECKING:
    from ..api import Dataset, Story
    from ..config.experiment import PrepareConfig
    from ..config.resolve import Layer
    from ..data.preparation.chunks import Share
    from ..data.preparation.reading import Work
    from ..data.prepared import Prepared
    from ..plugin.registry import Registry

OWN = "folder"
"""The dataset that reads a folder of story folders."""
DATASET_OF_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv"}
"""Also where .gz follows."""
NO_DOWNLOADS = "tiny"
"""The preset whose components need no pretrained weights."""
UNSEEN_SEED = 1_000_003
"""Of stories to predict: far from the training stories', so that none of them was seen."""
READING = {"data.image_size": 64, "data.window": "sliding"}
"""How a source is read that is only analysed: all of its windows, and images as small as their hashes allow."""


def unseen_stories(registry: Registry, count: int) -> list[Story]:
    """Return stories of the embedded dataset that no model was trained on, unless somebody chose their seed."""
    from ..plugin.loading import build

    provided = registry.find("dataset", EMBEDDED)
    options = provided.component.options(stories=count, seed=UNSEEN_SEED)  # type: ignore[call-arg]
    return list(build(provided, options).read(None))


def default_dataset(source: str | None) -> str:
    """Return the dataset that reads a source: the embedded one if none is named, `folder`, or by a file's suffix."""
    if source is None:
        return EMBEDDED
    if Path(source).is_file():
        suffix = Path(source.lower().removesuffix(".gz")).suffix
        if dataset := DATASET_OF_SUFFIX.get(suffix):
            return dataset
        raise VsrError(
            f"{source}: files of this type are not read ({', '.join(DATASET_OF_SUFFIX)} are); name a folder of story "
            "folders, or the dataset that reads it with --dataset NAME (see 'vsr plugins list dataset')"
        )
    if Path(source).exists():
        return OWN
    raise VsrError(
        f"{source}: there is no such folder; name a folder of story folders, "
        "or the dataset that reads it with --dataset NAME (see 'vsr plugins list dataset')"
    )


def prepare_config(
    registry: Registry,
    *,
    dataset: str,
    preset: str | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    further: Sequence[Layer] = (),
) -> PrepareConfig:
    """Resolve a prepare command; without --limit, the preset's limit for this dataset applies.

    `further` layers, the Python API's, lie on top.
    """
    from ..config.experiment import resolve_prepare
    from ..config.resolve import parse_set, preset_layer

    chosen = preset or default_preset(dataset)[0]
    base = preset_layer(chosen)
    limit = base.values.get("limit", {}).get(dataset, 0)
    if limit and flags.get("data.limit") is None:
        say(f"preset {chosen}: the first {limit} stories of {dataset}; --limit 0 reads all")
    named = {"dataset.name": dataset, "data.limit": limit} | {k: v for k, v in flags.items() if v is not None}
    return resolve_prepare(
        registry, preset=chosen, layers=[base, *flag_layers(named), *parse_set(assignments), *further]
    )


def open_checked(
    config: PrepareConfig, source: str | None, mistakes: Sequence[str] = (), *, encoders: bool = True
) -> Dataset:
    """Open the dataset, and download what it and the `encoders` lack; those of a run lack nothing.

    Raises VsrError with a line for each requirement that cannot be met, the source's stories among them, and the
    `mistakes` that are known already; nothing is written then.
    """
    from ..data.preparation.reading import survey_of
    from ..plugin.requirements import provide

    opened: list[Dataset] = []

    def look() -> None:
        opened.append(open_dataset(config, source))
        survey_of(opened[0], source)

    chosen = [("dataset", config.dataset)]
    chosen += [("visual", config.visual), ("text", config.text)] if encoders else []
    lines = [*mistakes, *(() if mistakes else collect_errors(look))]
    if is_main() or lines:
        try:
            provide(chosen, mistakes=lines)
        except VsrError as error:
            if lines or not encoders or config.preset == NO_DOWNLOADS:
                raise
            *others, last = error.lines
            hint = f"or add --preset {NO_DOWNLOADS}, which downloads nothing"
            raise VsrError(*others, f"{last}; {hint}") from error
    return opened[0]


def open_dataset(config: PrepareConfig, source: str | None) -> Dataset:
    """Build the chosen dataset, and report its licence and what it will download."""
    from ..plugin.loading import build

    dataset: Dataset = build(config.dataset.provided, config.dataset.options)
    facts = dataset.describe(source)
    if "licence" in facts:
        say(f"{config.dataset.name}: licence {facts['licence']}")
    if "download" in facts:
        say(f"{config.dataset.name}: downloads {facts['download']} once, into the Hugging Face cache")
    if "stream" in facts:
        say(f"{config.dataset.name}: streams {facts['stream']} from the Hub each time, without a local copy")
    return dataset


def read_stories(
    config: PrepareConfig,
    dataset: Dataset,
    source: str | None,
    folder: Path,
    *,
    share: Share | None = None,
    windowless: bool = False,
) -> tuple[Prepared | None, Work]:
    """Prepare the stories, all or a share, under a bar of stories, time left and bytes; see `prepare_stories`."""
    from ..data.preparation.prepare import WHOLE, prepare_stories
    from ..data.preparation.reading import survey_of

    survey = survey_of(dataset, source)
    limit, held = config.data.limit, survey.stories
    if held is not None:
        _report_all(config, held)
    totals = [total for total in (limit, held) if total]
    with progress(TextColumn("{task.fields[size]}")) as bar:
        task = bar.add_task("reading stories", total=min(totals, default=None), size="")

        def show(work: Work) -> None:
            bar.update(task, completed=work.stories, size=size(work.bytes))

        prepared, work = prepare_stories(
            config,
            dataset,
            source,
            folder,
            survey=survey,
            share=share or WHOLE,
            windowless=windowless,
            on_progress=show,
        )
    if held is None and work.read:
        _report_all(config, work.stories)
    return prepared, work


def _report_all(config: PrepareConfig, count: int) -> None:
    """Report that a source holds fewer stories than the limit."""
    limit = config.data.limit
    if count < limit:
        can_make = "stories" in type(config.dataset.options).model_fields
        more = f"; --set dataset.stories={limit} makes as many" if can_make else ""
        say(f"{config.dataset.name}: holds {counted(count, 'story')}, fewer than the limit of {limit}{more}")


@dataclass(frozen=True)
class Opened:
    """Stories that are open, and their name: the prepared folder, or the source that was read."""

    prepared: Prepared
    source: str


@contextmanager
def open_stories(
    registry: Registry,
    source: str | None,
    *,
    dataset: str | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    windowless: bool = False,
) -> Iterator[Opened]:
    """Open a prepared folder, or read a source as `vsr prepare` does, into a folder that is removed afterwards.

    Raises VsrError if there is neither, if options of preparing are given for a prepared folder, or if the source has
    no window and `windowless` is false.
    """
    if is_prepared(source, dataset):
        from ..data.prepared import open_prepared

        folder = find_prepared(source)
        if any(value is not None for value in flags.values()) or assignments:
            raise VsrError(
                f"{folder}: is prepared already, so options of preparing have no effect; leave them out, "
                "or name the source of the stories"
            )
        yield Opened(open_prepared(folder), str(folder))
        return
    name = dataset or default_dataset(source)
    config = prepare_config(registry, dataset=name, preset=None, flags={**READING, **flags}, assignments=assignments)
    with scratch_folder() as place:
        folder = place / "data"
        prepared, _ = read_stories(config, open_dataset(config, source), source, folder, windowless=windowless)
        assert prepared is not None
        yield Opened(prepared, source or name)


def is_prepared(source: str | None, dataset: str | None) -> bool:
    """Whether a source is a prepared folder; no source at all means the newest one."""
    from ..data.manifest import MANIFEST

    return dataset is None and (source is None or (Path(source) / MANIFEST).is_file())


def find_prepared(source: str | Path | None) -> Path:
    """Return the prepared folder that is named, or the newest under data/. Raises VsrError if there is none."""
    from ..data.manifest import newest_prepared

    folder = newest_prepared() if source is None else Path(source)
    if folder is None:
        raise VsrError("nothing is prepared under data/; run 'vsr prepare', or name the source of the stories")
    if source is None:
        say(f"the newest prepared data: {folder}")
    return folder


def find_data(folder: Path | None) -> Path | None:
    """Return the prepared folder to train on: the one named, or the newest under data/; None if there is none.

    Whether the folder that is named exists is checked by `resolve_train_command`, with everything else that is missing.
    """
    from ..data.manifest import newest_prepared

    return folder or newest_prepared()
