"""`vsr prepare`: read stories and store images, texts, splits and frozen features."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.choices import ShortStories, Window
from ..console import out as console
from ..console import print_json, say
from ..distributed_env import is_main
from ..errors import VsrError, collect_errors
from ..files.names import own_name
from ..report.tables import Column, fitting_table
from .arguments import (
    Assignments,
    Dataset,
    Groups,
    Json,
    Limit,
    Out,
    Preset,
    Resizing,
    SplitMethod,
    as_path,
    as_source,
    component_option,
)
from .parsing.commands import examples
from .settings import default_preset, load_registry
from .workflows.stories import OWN, default_dataset, open_checked, open_dataset, prepare_config, read_stories
from .workflows.stories_of_run import config_of_run, folder_for_run, load_run, next_command, refuse_options_of_run

if TYPE_CHECKING:
    from ..config.experiment import PrepareConfig
    from ..data.preparation.reading import Work
    from ..data.prepared import Prepared
    from ..model.story_model import StoryModel

COUNTED = ("stories", "windows")
TRAINABLE = "trainable throughout, so it has no frozen features to cache"
PROBLEMS_SHOWN = 5
"""In the terminal; all of them are in a file."""


@examples(
    "vsr prepare my_stories/",
    "vsr prepare my_stories/ --preset tiny",
    "vsr prepare my_stories/ --window sliding --resize letterbox --groups series.csv",
    "vsr prepare my_stories/ --visual mobilenet_v2 --text hf-text --set text.model=FOLDER",
    "vsr prepare --dataset story-reasoning --limit 500",
    "vsr prepare --run runs/lstm other_stories/",
)
def prepare(
    source: Annotated[
        str | None,
        typer.Argument(
            parser=as_source,
            help="A folder of story folders, a .jsonl or .csv file, or a dataset's id on the Hugging Face Hub. "
            "Default: the embedded dataset.",
        ),
    ] = None,
    dataset: Dataset = None,
    limit: Limit = None,
    window: Annotated[Window | None, typer.Option("--window", help="Which five consecutive frames of a story.")] = None,
    short_stories: Annotated[
        ShortStories | None,
        typer.Option("--short-stories", help="Stories of under five frames: leave out, or repeat the last frame."),
    ] = None,
    resize: Resizing = None,
    split: SplitMethod = None,
    groups: Groups = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Store the I-th of N shares of the images, for several machines."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            parser=as_path,
            help="A run to score on these stories: they are read as its own were, all into the test split.",
        ),
    ] = None,
    preset: Preset = None,
    visual: Annotated[str | None, component_option("visual")] = None,
    text: Annotated[str | None, component_option("text")] = None,
    assignments: Assignments = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Read stories, cut them into windows, split them, and store images, texts and frozen features."""
    from ..runs.opening import open_run

    registry = load_registry()
    mistakes = collect_errors(lambda: dataset or default_dataset(source))
    name = dataset or (OWN if mistakes else default_dataset(source))
    flags = {
        "data.limit": limit,
        "data.window": window,
        "data.short_stories": short_stories,
        "data.resize": resize,
        "data.split": split,
        "data.group_csv": groups,
        "visual.name": visual,
        "text.name": text,
    }
    folder = out or default_folder(source, name)
    opened, trained = None, None
    if run is not None:
        refuse_options_of_run(run, flags, {"--preset": preset}, assignments or [])
        opened = open_run(run)
        folder = folder_for_run(opened, out, folder)
        config = config_of_run(registry, opened, dataset=name, flags=flags, assignments=assignments or [])
        trained = partial(load_run, opened, registry)
    else:
        config = prepare_config(registry, dataset=name, preset=preset, flags=flags, assignments=assignments or [])
    if mistakes:
        open_checked(config, source, mistakes, encoders=trained is None)  # reports what else is missing
    if preset is None and run is None:
        _report_preset(name)
    if shard is not None:
        done = run_shard(config, source, folder, shard)
        if as_json:
            print_json(done)
        return
    prepared = run_prepare(config, source, folder, trained=trained)
    if not is_main():
        return
    if as_json:
        print_json({"folder": str(prepared.folder), **prepared.manifest})
    else:
        show_prepared(prepared)
        say(f"next: {next_command(prepared, run)}")


def _report_preset(dataset: str) -> None:
    """Report which preset a prepare command starts from when none is named, and why."""
    from ..config.presets import preset_facts

    name, reason = default_preset(dataset)
    say(f"preset {name}, the default for {reason}: {preset_facts(name).summary}; 'vsr presets' lists others")


def default_folder(source: str | None, dataset: str) -> Path:
    """Name the prepared folder after its source."""
    from ..data.manifest import DATA

    name = own_name(Path(source)) if source and Path(source).exists() else dataset
    return DATA / (name or dataset)


def run_prepare(
    config: PrepareConfig, source: str | None, folder: Path, *, trained: Callable[[], StoryModel] | None = None
) -> Prepared:
    """Read, check, split and store the stories, then compute the encoders' frozen features.

    `trained` loads the model of a run, whose encoders are taken. Processes that a launcher has started share the
    decoding and the features among them.
    """
    dataset = open_checked(config, source, encoders=trained is None)
    # What is missing has been reported by now, without waiting for torch.
    import torch

    from ..config.schema import TrainingOptions
    from ..data.cache.extraction import load_or_compute, text_request, visual_request, warn_truncated_texts
    from ..data.preparation.workers import join_workers
    from ..data.prepared import open_prepared
    from ..data.splits import SPLITS
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
    # Built before any story is read: weights that cannot be used are reported at once.
    model = trained() if trained else None
    visual = model.visual if model else build_part("visual", config.visual, training_texts=tuple, **sizes)
    together = join_workers()
    if together.share.of > 1:
        read_stories(config, dataset, source, folder, share=together.share)
        together.wait()
    tables = None
    if is_main():
        made, work = read_stories(config, dataset, source, folder)
        _report_work(made, work)
        tables = made and made.tables
    together.wait()
    prepared = open_prepared(folder)
    if tables not in (None, prepared.tables):
        raise VsrError(f"{folder}: another process has prepared other data there in the meantime; name another --out")
    windows = [prepared.windows(split) for split in SPLITS]
    device = choose_device("auto")
    if visual.cache_key is None:
        say(f"visual encoder {config.visual.name}: {TRAINABLE}")
    load_or_compute(visual_request(prepared, visual, windows, device=device), config.features, workers=together)
    if model:
        text = model.text
    elif not len(prepared.windows("train")):
        # An encoder that learns its vocabulary has no training texts here, and would differ from the run's.
        say("the train split has no window: features of texts are computed when a run is evaluated on this data")
        return prepared
    else:
        text = build_part("text", config.text, training_texts=prepared.training_texts, **sizes)
    if text.cache_key is None:
        say(f"text encoder {config.text.name}: {TRAINABLE}")
    warn_truncated_texts(text.tokenize(prepared.frames.texts))
    load_or_compute(text_request(prepared, text, windows, device=device), config.features, workers=together)
    return prepared


def run_shard(config: PrepareConfig, source: str | None, folder: Path, shard: str) -> dict[str, Any]:
    """Store one share of the images, "2/4" is the second of four; return what was done, for JSON."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", shard)
    if not match or int(match[1]) > int(match[2]):
        raise VsrError(
            f"--shard {shard}: not of the form i/n with i from 1 to n; the second of four shares is 2/4, for example"
        )
    from ..data.preparation.chunks import Share

    share = Share(int(match[1]) - 1, int(match[2]))
    _, work = read_stories(config, open_dataset(config, source), source, folder, share=share)
    say(
        f"shard {shard}: {work.made} stories stored in {folder}, {work.stories} read; when all {share.of} shards are "
        "stored, run the same command without --shard to combine them"
    )
    return {"folder": str(folder), "shard": shard, "stories_read": work.stories, "stories_stored": work.made}


def _report_work(prepared: Prepared | None, work: Work) -> None:
    assert prepared is not None, "only a share returns no prepared data"
    if not work.read:
        say(f"{prepared.folder}: the source has not changed, so it was not read again")
    elif not work.made:
        say(f"{prepared.folder}: all {work.stories} stories are stored already and unchanged")
    elif work.made < work.stories:
        say(f"{prepared.folder}: {work.made} of {work.stories} stories were stored anew, the others are unchanged")
    if not work.made:
        stories = sum(prepared.manifest["counts"]["stories_kept"].values())
        what = "written anew, since the options or the source changed" if work.tables else "unchanged; nothing to do"
        say(f"windows and splits of {stories} stories: {what}")


def show_prepared(prepared: Prepared) -> None:
    """Print how much was stored, what was left out, and why."""
    from ..data.prepared import PROBLEMS

    counts = prepared.manifest["counts"]
    console.print(f"prepared in {prepared.folder}", style="bold", markup=False, soft_wrap=True)
    kept = [counts[f"{what}_kept"] for what in COUNTED]
    columns = [
        Column("", COUNTED, justify="left"),
        *(Column(split, [f"{each[split]:,}" for each in kept]) for split in kept[0]),
        Column("total", [f"{sum(each.values()):,}" for each in kept]),
    ]
    console.print(fitting_table(columns, width=console.width))
    console.print(
        f"{counts['frames']} frames, {counts['images']} distinct images, {counts['texts']} distinct texts, "
        f"{sum(prepared.manifest['bytes'].values()) / 2**20:.0f} MiB"
    )
    for what in COUNTED:
        for reason, count in sorted(counts[f"{what}_dropped"].items()):
            console.print(f"left out: {count} {what}, {reason.replace('_', ' ')}")
    if counts["problems"]:
        found = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in counts["problems"].items())
        path = prepared.folder / PROBLEMS
        console.print(f"problems: {found}; all are listed in {path}", markup=False, soft_wrap=True)
        for problem in itertools.islice(prepared.problems(), PROBLEMS_SHOWN):
            frame = "" if problem["frame"] is None else f", frame {problem['frame'] + 1}"
            console.print(f"  {problem['story']}{frame}: {problem['detail']}", markup=False, soft_wrap=True)
