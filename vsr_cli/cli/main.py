"""The command line: what can be typed. Each command resolves its words and hands on to `vsr_cli.cli`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from .. import __version__
from ..console import fail, print_json, say, say_traceback, tolerate_encodings
from ..distributed_env import is_main, share_processor
from ..entry import Stopped, describe_end
from ..errors import PluginError, VsrError
from ..system_errors import describe_os_error, describe_out_of_memory, is_out_of_memory
from .ablate_app import ablate_app
from .arguments import (
    Assignments,
    BatchSize,
    Compile,
    Config,
    Data,
    Dataset,
    DryRun,
    Epochs,
    Font,
    Fusion,
    Groups,
    ImageDecoder,
    Json,
    Out,
    Precision,
    Preset,
    Resize,
    Resume,
    SplitBy,
    Temporal,
    Text,
    TextDecoder,
    Track,
    Visual,
    as_source,
    use_font,
)
from .cache import cache_app
from .config import config_app
from .data_app import data_app
from .flags import part_flags, refuse_settings, resolve_train_command, train_flags
from .parsing import Command, UsageError, fail_usage, presets_and_examples
from .plugins import plugins_app
from .predicting_app import predicting_app
from .presets import presets_app
from .results_app import results_app
from .runs import runs_app

FAULT = 1
MISTAKE = 2
INTERRUPTED = 130
TRACEBACK_VARIABLE = "VSR_TRACEBACK"
"""Set, it shows where in a plugin's code its fault arose."""

app = typer.Typer(
    name="vsr",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Visual story reasoning: given the first four (image, text) pairs of a story, predict the fifth.",
)
app.add_typer(predicting_app)
app.add_typer(plugins_app, name="plugins")
app.add_typer(config_app, name="config")
app.add_typer(cache_app, name="cache")
app.add_typer(data_app, name="data")
app.add_typer(runs_app, name="runs")
app.add_typer(results_app)
app.add_typer(ablate_app)
app.add_typer(presets_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vsr {__version__}")
        raise typer.Exit


@app.callback()
def vsr(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Visual story reasoning: given the first four (image, text) pairs of a story, predict the fifth."""


@app.command(
    epilog=presets_and_examples(
        "vsr prepare",
        "vsr prepare my_stories/ --window sliding --resize letterbox --groups series.csv",
        "vsr prepare my_stories/ --visual mobilenet_v2 --text hf-text --set text.model=FOLDER",
        "vsr prepare --dataset story-reasoning --limit 500",
    )
)
def prepare(
    source: Annotated[
        str | None,
        typer.Argument(
            parser=as_source,
            help="A folder of story folders, or a dataset's hub id. None: the embedded dataset.",
        ),
    ] = None,
    dataset: Dataset = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="How many stories to read; 0: all.")] = None,
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="first|sliding|last", help="Which five frames of a story."),
    ] = None,
    short: Annotated[
        str | None,
        typer.Option("--short", metavar="drop|pad", help="What to do with stories of under five frames."),
    ] = None,
    resize: Resize = None,
    split: SplitBy = None,
    groups: Groups = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Store one share of the pictures, as one of several machines."),
    ] = None,
    preset: Preset = None,
    visual: Visual = None,
    text: Text = None,
    assignments: Assignments = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Read stories, check them, cut windows, split them, and store images, texts and frozen features."""
    from .prepare import (
        OWN,
        default_dataset,
        default_folder,
        open_checked,
        prepare_config,
        run_prepare,
        run_shard,
        say_preset,
        show_prepared,
    )
    from .requirements import collected
    from .settings import registry

    found = registry()
    mistakes = collected(lambda: dataset or default_dataset(source))
    name = dataset or (OWN if mistakes else default_dataset(source))
    flags = {
        "data.limit": limit,
        "data.window": window,
        "data.short_stories": short,
        "data.resize": resize,
        "data.split": split,
        "data.group_csv": groups,
        **part_flags(visual=visual, text=text),
    }
    config = prepare_config(found, dataset=name, preset=preset, flags=flags, assignments=assignments or [])
    if mistakes:
        open_checked(config, source, mistakes)  # which names what else is missing
    if preset is None:
        say_preset(name)
    folder = out or default_folder(source, name)
    if shard is not None:
        done = run_shard(config, source, folder, shard)
        if as_json:
            print_json(done)
        return
    prepared = run_prepare(config, source, folder)
    if not is_main():
        return
    if as_json:
        print_json({"folder": str(prepared.folder), **prepared.manifest})
    else:
        show_prepared(prepared)
        say(f"next: vsr train --data {prepared.folder}")


@app.command(
    epilog=presets_and_examples(
        "vsr train --temporal gru",
        "vsr train --data data/my_stories --epochs 20 --temporal lstm",
        "vsr train --preset reference --set visual.weights=resnet50.safetensors --set text.model=distilbert/",
        "vsr train --epochs 20 --dry-run",
        "vsr train --resume runs/mine --epochs 40",
        "torchrun --nproc-per-node 4 -m vsr_cli train --temporal gru",
    )
)
def train(
    data: Data = None,
    preset: Preset = None,
    visual: Visual = None,
    text: Text = None,
    fusion: Fusion = None,
    temporal: Temporal = None,
    text_decoder: TextDecoder = None,
    image_decoder: ImageDecoder = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
    compile_parts: Compile = False,
    track: Track = None,
    assignments: Assignments = None,
    config: Config = None,
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Train a model, watch its losses fall, and write a run folder. Or go on with a run that was interrupted."""
    use_font(font)
    from .plan import run_plan, show_plan
    from .runs import tell_run
    from .settings import registry
    from .train import (
        check_embedded,
        find_data,
        prepare_embedded,
        provide_parts,
        resume_train,
        run_train,
        say_other_preset,
    )

    found = registry()
    flags = train_flags(
        {
            "visual": visual,
            "text": text,
            "fusion": fusion,
            "temporal": temporal,
            "text_decoder": text_decoder,
            "image_decoder": image_decoder,
        },
        epochs=epochs,
        batch_size=batch_size,
        precision=precision,
        compile_parts=compile_parts,
        track=track,
    )
    if resume is not None:
        if dry_run:
            raise VsrError("--dry-run: plans a training from its start; leave out --resume, or --dry-run")
        given = {"--preset": preset, "--config": config, "--out": out}
        refuse_settings(resume, flags | {"training.epochs": None}, given, assignments or [])
        tell_run(resume_train(found, resume, data=data, epochs=epochs), as_json=as_json)
        return
    folder = find_data(data)
    # Resolved before the data is made, so that a misspelt word costs no waiting.
    settings = resolve_train_command(found, folder, preset=preset, config=config, flags=flags, assignments=assignments)
    if dry_run:
        plan = run_plan(settings, folder)
        print_json(plan.record()) if as_json else show_plan(plan)
        return
    if folder is None:
        check_embedded(settings.preset)
        provide_parts(settings)
        folder = prepare_embedded(found, show=not as_json)
    else:
        say_other_preset(settings, folder)
    tell_run(run_train(settings, folder, out), as_json=as_json)


for group in (app, *(info.typer_instance for info in app.registered_groups)):
    assert group is not None
    for command in group.registered_commands:
        if not issubclass(command.cls or object, Command):
            command.cls = Command


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a check or a plugin failed, 2 the user's mistake, 130, 129 or 143 stopped by a signal.
    """
    tolerate_encodings()
    share_processor()
    try:
        code = app(prog_name="vsr", standalone_mode=False)
    except UsageError as error:
        fail_usage(error, app)
        code = MISTAKE
    except VsrError as error:
        fail(*error.lines)
        code = MISTAKE
    except PluginError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            say_traceback(error)
        fail(str(error))
        code = FAULT
    except OSError as error:
        fail(describe_os_error(error))
        code = MISTAKE
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fail(describe_out_of_memory(error))
        code = MISTAKE
    except Stopped as end:
        fail(describe_end(end.number))
        code = end.code
    if code == INTERRUPTED:
        fail(describe_end(signal.SIGINT))
    sys.exit(code)
