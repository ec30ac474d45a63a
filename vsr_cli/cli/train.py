"""`vsr train`: train a model on prepared data, or resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import print_json, say, warn
from ..distributed_env import is_main, process_count
from ..errors import VsrError
from ..workflows.settings import EMBEDDED, default_preset, load_registry, resolve_train_command, typed_options
from ..workflows.stories import find_data, prepare_config
from .arguments import Components, Data, Json, Settings, Track, as_path
from .parsing.commands import examples
from .parsing.completion import complete_run

if TYPE_CHECKING:
    from ..config.experiment import TrainConfig
    from ..plugin.registry import Registry
    from ..runs.run import Run


@examples(
    "vsr train --temporal gru",
    "vsr train --data data/my_stories --epochs 20 --temporal lstm --out runs/lstm",
    "vsr train --preset reference --set visual.weights=resnet50.safetensors --set text.model=distilbert/",
    "vsr train --epochs 20 --dry-run",
    "vsr train --resume runs/lstm --epochs 40",
    "torchrun --nproc-per-node 4 -m vsr_cli train --temporal gru",
)
def train(
    data: Data = None,
    components: Components = Components(),  # noqa: B008 - frozen
    settings: Settings = Settings(),  # noqa: B008
    track: Track = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", parser=as_path, help="The run folder. Default: a new one under runs/."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            parser=as_path,
            help="Resume this run; of the other options, only --epochs and --data can be given.",
            autocompletion=complete_run,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Measure a few steps, report memory, disk space and time, and stop."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model and write a run folder, or resume a run that was interrupted."""
    registry = load_registry()
    flags = {**components.flags(), **settings.flags(), "training.track": track or None}
    if resume is not None:
        from ..workflows.training import resume_train

        if dry_run:
            raise VsrError("--dry-run: plans a new training; leave out --resume, or --dry-run")
        others = {"--preset": settings.preset, "--config": settings.config, "--out": out}
        if typed := typed_options(flags | {"training.epochs": None}, others, settings.assignments):
            raise VsrError(
                f"--resume {resume}: the run has its own settings (got {', '.join(typed)}); leave these out, only "
                "--epochs and --data can be given"
            )
        _report_run(resume_train(registry, resume, data=data, epochs=settings.epochs), as_json=as_json)
        return
    folder = find_data(data)
    # Resolved before the data is prepared, so that a misspelt word is reported at once.
    config = resolve_train_command(registry, folder, flags=flags, **settings.layers())
    if dry_run:
        from ..workflows.dry_run import run_plan, show_plan

        plan = run_plan(config, folder)
        print_json(plan.record()) if as_json else show_plan(plan)
        return
    from ..workflows.training import provide_parts, run_train

    if folder is None:
        check_embedded(config.preset)
        provide_parts(config)
        folder = prepare_embedded(registry, show=not as_json)
    else:
        _report_other_preset(config, folder)
    _report_run(run_train(config, folder, out), as_json=as_json)


def _report_run(run: Run, *, as_json: bool) -> None:
    """Report what to type next with a run that has just been trained, or its summary as JSON."""
    if not as_json:
        say(f"next: vsr evaluate --run {run.folder}")
    elif is_main():
        from ..runs.summary import summarise

        print_json(summarise(run.folder).record())


def check_embedded(preset: str) -> None:
    """Raise VsrError if nothing is prepared and the preset is not the embedded stories' own: others are meant."""
    if preset != default_preset(EMBEDDED)[0]:
        raise VsrError(
            f"--preset {preset}: nothing is prepared under data/ yet; run 'vsr prepare MY_STORIES/ --preset {preset}' "
            f"for your own stories, or 'vsr prepare --preset {preset}' for the embedded ones; then repeat this command"
        )
    if process_count() > 1:
        raise VsrError("data/: nothing is prepared yet; run 'vsr prepare' once before several processes train")


def prepare_embedded(registry: Registry, *, show: bool) -> Path:
    """Prepare the embedded dataset, since there is nothing else to train on, and show on stdout what it holds."""
    from ..workflows.preparation import default_folder, run_prepare
    from .prepare import show_prepared

    preset, _ = default_preset(EMBEDDED)
    warn(
        f"nothing is prepared under data/, so this run trains on stories that vsr generates ({EMBEDDED}, preset "
        f"{preset}); to train on your own, type 'vsr prepare MY_STORIES/' first"
    )
    config = prepare_config(registry, dataset=EMBEDDED, preset=preset, flags={}, assignments=[])
    folder = default_folder(None, EMBEDDED)
    prepared = run_prepare(config, None, folder)
    if show:
        show_prepared(prepared)
    return folder


def _report_other_preset(config: TrainConfig, data: Path) -> None:
    """Report that a run starts from another preset than its data was prepared with, and what does not change."""
    from ..data.prepared import open_prepared

    manifest = open_prepared(data).manifest
    if config.preset != manifest["preset"]:
        size = manifest["data"]["image_size"]
        say(
            f"preset {config.preset}, on data prepared with preset {manifest['preset']}: images stay {size}x{size} "
            f"pixels and windows as they are; 'vsr prepare --preset {config.preset}' prepares data for it"
        )
