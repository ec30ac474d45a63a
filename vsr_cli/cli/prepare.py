"""`vsr prepare`: read stories and store images, texts, splits and frozen features."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.choices import Compute, ShortStories, Window
from ..console import out as console
from ..console import print_json, say
from ..distributed_env import is_main
from ..errors import VsrError, collect_errors
from ..quantities import counted, size
from ..report.tables import Column, fitting_table
from ..workflows.preparation import default_folder, run_prepare, run_shard
from ..workflows.settings import default_preset, load_registry
from ..workflows.stories import OWN, default_dataset, open_checked, prepare_config
from ..workflows.stories_of_run import config_of_run, folder_for_run, load_run, next_command, refuse_options_of_run
from .ablate_cell import end_with
from .arguments import (
    Assignments,
    Dataset,
    Groups,
    JobSettings,
    Json,
    LauncherName,
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
from .prepare_shards import store_shards

if TYPE_CHECKING:
    from ..data.prepared import Prepared

COUNTED = {"stories": "story", "windows": "window"}
"""What is counted, and one of it."""
PROBLEMS_SHOWN = 5
"""In the terminal; all of them are in a file."""


@examples(
    "vsr prepare my_stories/",
    "vsr prepare my_stories/ --preset tiny",
    "vsr prepare my_stories/ --window sliding --resize letterbox --groups series.csv",
    "vsr prepare my_stories/ --visual mobilenet_v2 --text hf-text --set text.model=FOLDER",
    "vsr prepare --dataset story-reasoning --limit 500",
    "vsr prepare my_stories/ --shards 8 --launcher submitit --job slurm_partition=cpu cpus_per_task=4",
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
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards", metavar="N", min=2, max=10_000, help="Store N shares at once by --launcher, then combine them."
        ),
    ] = None,
    launcher: LauncherName = "local",
    job: JobSettings = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            parser=as_path,
            help="A run to score on these stories: they are read as its own were, all into the test split.",
        ),
    ] = None,
    preset: Preset = None,
    visual: Annotated[str | None, component_option("visual")] = None,
    text: Annotated[str | None, component_option("text")] = None,
    precision: Annotated[
        Compute | None,
        typer.Option(
            "--precision",
            help="Precision in which images and texts are encoded: bf16 is for processors "
            "and GPUs that have it, and keeps two digits. Default: fp32.",
        ),
    ] = None,
    assignments: Assignments = None,
    out: Out = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Read stories, cut them into windows, split them, and store images, texts and frozen features."""
    from ..runs.opening import open_run

    if parent is not None:
        end_with(parent)
    _check_shards(shard, shards, launcher, job)
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
        "features.compute": precision,
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
    if shards is not None:
        store_shards(sys.argv[1:], folder, shards=shards, launcher=launcher, job=job or [])
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
        for note in _empty_splits(prepared):
            say(f"note: {note}")
        say(f"next: {next_command(prepared, run)}")


def _check_shards(shard: str | None, shards: int | None, launcher: str, job: Sequence[str] | None) -> None:
    """Raise VsrError if options that distribute the work do not go together."""
    if shards is not None and shard is not None:
        raise VsrError(f"--shard {shard}: --shards {shards} stores all shares; leave out one of the two")
    if shards is not None:
        from ..ablation.engines import refuse_launched

        refuse_launched("--shards")
    if shards is None and (launcher != "local" or job):
        raise VsrError("--launcher, --job: need --shards N, the number of shares to distribute")


def _report_preset(dataset: str) -> None:
    """Report which preset a prepare command starts from when none is named, and why."""
    from ..config.presets import preset_facts

    name, reason = default_preset(dataset)
    say(f"preset {name}, the default for {reason}: {preset_facts(name).summary}; 'vsr presets' lists others")


def _empty_splits(prepared: Prepared) -> list[str]:
    """Return what no story means that fell into a split that was to have a share of them."""
    from ..data.splits import BY_SHARE

    windows, options = prepared.manifest["counts"]["windows_kept"], prepared.manifest["data"]
    if not windows["train"] or options["split"] not in BY_SHARE:
        return []
    lost = {"validation": "training keeps its last weights instead of its best", "test": "no score can be measured"}
    return [
        f"no story fell into the {split} split, so {what}; prepare more stories"
        for split, what in lost.items()
        if options[split] and not windows[split]
    ]


def show_prepared(prepared: Prepared) -> None:
    """Print how much was stored, what was left out, and why."""
    from ..data.prepared import PROBLEMS

    counts = prepared.manifest["counts"]
    console.print(f"prepared in {prepared.folder}", style="bold", markup=False, soft_wrap=True)
    kept = [counts[f"{what}_kept"] for what in COUNTED]
    columns = [
        Column("", list(COUNTED), justify="left"),
        *(Column(split, [f"{each[split]:,}" for each in kept]) for split in kept[0]),
        Column("total", [f"{sum(each.values()):,}" for each in kept]),
    ]
    console.print(fitting_table(columns, width=console.width))
    console.print(
        f"{counted(counts['frames'], 'frame')}, {counted(counts['images'], 'distinct image')}, "
        f"{counted(counts['texts'], 'distinct text')}, {size(sum(prepared.manifest['bytes'].values()))}"
    )
    for what in COUNTED:
        for reason, count in sorted(counts[f"{what}_dropped"].items()):
            console.print(f"left out: {counted(count, COUNTED[what])}, {reason.replace('_', ' ')}")
    if counts["problems"]:
        found = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in counts["problems"].items())
        path = prepared.folder / PROBLEMS
        console.print(f"problems: {found}; all are listed in {path}", markup=False, soft_wrap=True)
        for problem in itertools.islice(prepared.problems(), PROBLEMS_SHOWN):
            frame = "" if problem["frame"] is None else f", frame {problem['frame'] + 1}"
            console.print(f"  {problem['story']}{frame}: {problem['detail']}", markup=False, soft_wrap=True)
