"""`vsr prepare`: stories in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TextColumn

from ..api import own_name
from ..config.experiment import PrepareConfig, resolve_prepare
from ..config.resolve import parse_set, preset_facts, preset_layer
from ..config.schema import TrainingOptions
from ..console import out as console
from ..console import progress, say
from ..distributed_env import is_main
from ..errors import VsrError
from ..plugin.registry import Registry
from ..report.tables import Column, fitting_table
from .requirements import collected, provide
from .settings import EMBEDDED, default_preset, flag_layers

if TYPE_CHECKING:
    from ..api import Dataset
    from ..data.chunks import Share
    from ..data.prepare import Work
    from ..data.prepared import Prepared

OWN = "folder"
"""The dataset that a folder of story folders is."""
DATASET_OF_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv"}
"""Also where .gz follows."""
NOTHING_FROZEN = "trains from its first layer, so there is nothing frozen to keep"
KEPT = ("stories", "windows")
PROBLEMS_SHOWN = 5
"""In the terminal; all of them are in a file."""


def prepare_config(
    found: Registry, *, dataset: str, preset: str | None, flags: Mapping[str, Any], assignments: Sequence[str]
) -> PrepareConfig:
    """Resolve a prepare command; the preset's limit for this dataset holds unless --limit says otherwise."""
    chosen = preset or default_preset(dataset)[0]
    base = preset_layer(chosen)
    limit = base.values.get("limit", {}).get(dataset, 0)
    if limit and flags.get("data.limit") is None:
        say(f"preset {chosen}: the first {limit} stories of {dataset}; --limit 0 reads all")
    named = {"dataset.name": dataset, "data.limit": limit} | {k: v for k, v in flags.items() if v is not None}
    return resolve_prepare(found, preset=chosen, layers=[base, *flag_layers(named), *parse_set(assignments)])


def say_preset(dataset: str) -> None:
    """Report which preset a prepare command takes when none is named, and why."""
    name, reason = default_preset(dataset)
    facts = next(facts for facts in preset_facts() if facts.name == name)
    say(f"preset {name}, the default for {reason}: {facts.summary}; 'vsr presets' lists others")


def default_dataset(source: str | None) -> str:
    """With no source, the embedded dataset is meant; a folder holds story folders; a file says by its ending."""
    if source is None:
        return EMBEDDED
    if Path(source).is_file():
        suffix = Path(source.lower().removesuffix(".gz")).suffix
        if dataset := DATASET_OF_SUFFIX.get(suffix):
            return dataset
        raise VsrError(
            f"{source}: is a file of a kind that is not read ({', '.join(DATASET_OF_SUFFIX)} are); name a folder of "
            "story folders, or say what it is with --dataset NAME (see 'vsr plugins list')"
        )
    if Path(source).exists():
        return OWN
    raise VsrError(
        f"{source}: there is no such folder; name a folder of story folders, "
        "or say what it is with --dataset NAME (see 'vsr plugins list')"
    )


def default_folder(source: str | None, dataset: str) -> Path:
    """Name the prepared folder after its source."""
    from ..data.prepared import DATA

    name = own_name(Path(source)) if source and Path(source).exists() else dataset
    return DATA / (name or dataset)


def run_prepare(config: PrepareConfig, source: str | None, folder: Path) -> Prepared:
    """Read, check, cut, split and store the stories, then compute the encoders' frozen features.

    Processes that a launcher has started share the decoding and the features among them.
    """
    dataset = open_checked(config, source)
    # Kept light until here: what is missing is reported without waiting for torch.
    import torch

    from ..data.features import keep, wanted_text, wanted_visual, warn_truncated_texts
    from ..data.prepared import open_prepared
    from ..data.splits import SPLITS
    from ..data.workers import company
    from ..model.parts import build_part
    from ..model.weights import choose_device
    from ..training.memory import tune_allocator

    tune_allocator()
    sizes: dict[str, Any] = {
        "width": config.model.width,
        "image_size": config.data.image_size,
        "steps": config.data.context_frames,
    }
    # Encoders of random weights are then those that a train command of the default seed builds.
    torch.manual_seed(TrainingOptions().seed)
    # Built before any story is read, so that weights which cannot be used cost no waiting.
    visual = build_part("visual", config.visual, training_texts=tuple, **sizes)
    together = company()
    if together.share.of > 1:
        read_stories(config, dataset, source, folder, share=together.share)
        together.wait()
    tables = None
    if is_main():
        made, work = read_stories(config, dataset, source, folder)
        _say_work(made, work)
        tables = made and made.tables
    together.wait()
    prepared = open_prepared(folder)
    if tables not in (None, prepared.tables):
        raise VsrError(f"{folder}: another process has prepared other data there meanwhile; name another --out")
    windows = [prepared.windows(split) for split in SPLITS]
    device = choose_device("auto")
    if visual.cache_key is None:
        say(f"visual encoder {config.visual.name}: {NOTHING_FROZEN}")
    keep(wanted_visual(prepared, visual, windows, device=device), config.features, company=together)
    if not len(prepared.windows("train")):
        # An encoder that learns its words has nothing to learn them from here, and would not be the run's.
        say("no window is in the train split: features of texts are computed when a run is evaluated on them")
        return prepared
    text = build_part("text", config.text, training_texts=prepared.training_texts, **sizes)
    if text.cache_key is None:
        say(f"text encoder {config.text.name}: {NOTHING_FROZEN}")
    warn_truncated_texts(text.tokenize(prepared.frames.texts))
    keep(wanted_text(prepared, text, windows, device=device), config.features, company=together)
    return prepared


def run_shard(config: PrepareConfig, source: str | None, folder: Path, shard: str) -> dict[str, Any]:
    """Store one share of the pictures: "2/4" is the second of four. Give what was done, as JSON has it."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", shard)
    if not match or int(match[1]) > int(match[2]):
        raise VsrError(
            f"--shard {shard}: not of the form i/n with i from 1 to n; the second of four shares is 2/4, for example"
        )
    from ..data.chunks import Share

    share = Share(int(match[1]) - 1, int(match[2]))
    _, work = read_stories(config, open_dataset(config, source), source, folder, share=share)
    say(
        f"shard {shard}: {work.made} stories stored in {folder}, {work.stories} read; once the chunks of all "
        f"{share.of} shards are there, the same command without --shard puts them together"
    )
    return {"folder": str(folder), "shard": shard, "stories_read": work.stories, "stories_stored": work.made}


def open_checked(config: PrepareConfig, source: str | None, mistakes: Sequence[str] = ()) -> Dataset:
    """Open the dataset, and fetch what its components and the encoders lack.

    Raises VsrError with a line for each thing that cannot be had, the source's stories among them, and the `mistakes`
    that are known already; nothing is written then.
    """
    from ..data.prepare import survey_of

    opened: list[Dataset] = []

    def look() -> None:
        opened.append(open_dataset(config, source))
        survey_of(opened[0], source)

    chosen = [("dataset", config.dataset), ("visual", config.visual), ("text", config.text)]
    lines = [*mistakes, *(() if mistakes else collected(look))]
    if is_main() or lines:
        provide(chosen, mistakes=lines)
    return opened[0]


def open_dataset(config: PrepareConfig, source: str | None) -> Dataset:
    """Build the dataset that was chosen, and say under which licence it stands and what it will download."""
    from ..plugin.loading import build

    dataset: Dataset = build(config.dataset.provided, config.dataset.options)
    facts = dataset.describe(source)
    if "licence" in facts:
        say(f"{config.dataset.name}: licence {facts['licence']}")
    if "download" in facts:
        say(f"{config.dataset.name}: downloads {facts['download']} once, into the Hugging Face cache")
    if "stream" in facts:
        say(f"{config.dataset.name}: streams {facts['stream']} from the hub each time, and keeps no copy of it")
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
    from ..data.prepare import WHOLE, prepare_stories, survey_of

    survey = survey_of(dataset, source)
    limit, held = config.data.limit, survey.stories
    if held is not None:
        _say_all(config, held)
    totals = [total for total in (limit, held) if total]
    with progress(TextColumn("{task.fields[size]}")) as bar:
        task = bar.add_task("reading stories", total=min(totals, default=None), size="")

        def show(work: Work) -> None:
            bar.update(task, completed=work.stories, size=f"{work.bytes / 2**20:.0f} MiB")

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
        _say_all(config, work.stories)
    return prepared, work


def _say_all(config: PrepareConfig, count: int) -> None:
    """Report that a source holds fewer stories than the limit."""
    limit = config.data.limit
    if count < limit:
        can_make = "stories" in type(config.dataset.options).model_fields
        more = f"; --set dataset.stories={limit} makes as many" if can_make else ""
        say(f"{config.dataset.name}: {count} stories are all there are, fewer than the limit of {limit}{more}")


def _say_work(prepared: Prepared | None, work: Work) -> None:
    assert prepared is not None, "only of a share nothing is given"
    read = sum(prepared.manifest["counts"]["stories_kept"].values())
    if not work.read:
        say(f"{prepared.folder}: the source has not changed, so it was not read again")
    elif not work.made:
        say(f"{prepared.folder}: all {work.stories} stories are stored already, none has changed")
    elif work.made < work.stories:
        say(f"{prepared.folder}: {work.made} of {work.stories} stories were new or changed, or beside one that was")
    if not work.made:
        what = "made anew, since the options or the source changed" if work.tables else "as they were: nothing to do"
        say(f"windows and splits of {read} stories: {what}")


def show_prepared(prepared: Prepared) -> None:
    """Print what was kept, what was dropped and why."""
    from ..data.prepared import PROBLEMS

    counts = prepared.manifest["counts"]
    console.print(f"prepared in {prepared.folder}", style="bold", markup=False, soft_wrap=True)
    kept = [counts[f"{what}_kept"] for what in KEPT]
    columns = [
        Column("", KEPT, justify="left"),
        *(Column(split, [f"{each[split]:,}" for each in kept]) for split in kept[0]),
        Column("all", [f"{sum(each.values()):,}" for each in kept]),
    ]
    console.print(fitting_table(columns, width=console.width))
    console.print(
        f"{counts['frames']} frames, {counts['images']} distinct images, {counts['texts']} distinct texts, "
        f"{sum(prepared.manifest['bytes'].values()) / 2**20:.0f} MiB"
    )
    for what in KEPT:
        for reason, count in sorted(counts[f"{what}_dropped"].items()):
            console.print(f"dropped: {count} {what}, {reason.replace('_', ' ')}")
    if counts["problems"]:
        found = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in counts["problems"].items())
        path = prepared.folder / PROBLEMS
        console.print(f"found on the way: {found}; each is listed in {path}", markup=False, soft_wrap=True)
        for problem in itertools.islice(prepared.problems(), PROBLEMS_SHOWN):
            frame = "" if problem["frame"] is None else f", frame {problem['frame'] + 1}"
            console.print(f"  {problem['story']}{frame}: {problem['detail']}", markup=False, soft_wrap=True)
