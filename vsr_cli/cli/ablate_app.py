"""What can be typed about ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import print_json
from ..plugin.kinds import KIND_OF, MODEL_COMPONENTS
from .arguments import (
    Assignments,
    BatchSize,
    Compile,
    Config,
    Data,
    Epochs,
    Font,
    Json,
    Metrics,
    Out,
    Precision,
    Preset,
    as_path,
    completing,
    finite,
    use_font,
)
from .flags import train_flags
from .parsing import SeveralValues, examples

ablate_app = typer.Typer()

CHECK_FAILED = 1
"""The exit code where a run has failed."""


class SeveralParts(SeveralValues):
    """A command of which the parts of the model take several names each."""

    several = (*(KIND_OF[part].flag for part in MODEL_COMPONENTS), "--grid", "--metrics", "--job")


def _names(section: str) -> typer.models.OptionInfo:
    kind = KIND_OF[section]
    option: typer.models.OptionInfo = typer.Option(
        kind.flag, metavar="NAME…", help=f"One {kind.title} or several.", autocompletion=completing(section)
    )
    return option


@ablate_app.command(
    cls=SeveralParts,
    epilog=examples(
        "vsr ablate --temporal gru transformer mean --fusion concat gated --seeds 3",
        "vsr ablate --temporal gru lstm --grid model.width=128,256 training.learning_rate=1e-3,3e-3 --one-at-a-time",
        "vsr ablate --temporal gru lstm --seeds 5 --split test --metrics bleu meteor mse --jobs 2 --max-minutes 90",
        "vsr ablate --temporal gru lstm --launcher submitit --job slurm_partition=gpu gpus_per_node=1 --jobs 8",
    ),
)
def ablate(
    visual: Annotated[list[str] | None, _names("visual")] = None,
    text: Annotated[list[str] | None, _names("text")] = None,
    fusion: Annotated[list[str] | None, _names("fusion")] = None,
    temporal: Annotated[list[str] | None, _names("temporal")] = None,
    text_decoder: Annotated[list[str] | None, _names("text_decoder")] = None,
    image_decoder: Annotated[list[str] | None, _names("image_decoder")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="SECTION.KEY=A,B…", help="Any other setting, with the values that it takes."),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Vary one at a time from the first values, not all together.")
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, max=10_000, help="Runs of each combination.")
    ] = 3,
    data: Data = None,
    preset: Preset = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
    compile_parts: Compile = False,
    assignments: Assignments = None,
    config: Config = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="What is scored: validation or test.")
    ] = "validation",
    metrics: Metrics = None,
    out: Out = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=10_000, help="Runs at once.")] = 1,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", metavar="M", min=0, callback=finite, help="After these, begin no further run."),
    ] = None,
    launcher: Annotated[
        str, typer.Option("--launcher", metavar="local|submitit", help="Processes here, or jobs of a cluster.")
    ] = "local",
    job: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="KEY=VALUE…", help="What submitit asks the cluster for, e.g. timeout_min=60."),
    ] = None,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Train and score every combination of some parts with several seeds, and report which differences are significant.

    The first value of each is the base that the others are compared with. Typed again, it goes on where it stopped.
    """
    use_font(font)
    from .ablate import Asked, run_ablate, show_ablation
    from .settings import comma_separated, registry

    parts = {
        "visual": visual,
        "text": text,
        "fusion": fusion,
        "temporal": temporal,
        "text_decoder": text_decoder,
        "image_decoder": image_decoder,
    }
    asked = Asked(
        parts={section: comma_separated(names or []) for section, names in parts.items()},
        grid=grid or [],
        one_at_a_time=one_at_a_time,
        seeds=seeds,
        split=split,
        metrics=comma_separated(metrics or []),
        flags=train_flags(
            {}, epochs=epochs, batch_size=batch_size, precision=precision, compile_parts=compile_parts, track=None
        ),
        assignments=assignments or [],
        preset=preset,
        config=config,
    )
    result = run_ablate(
        registry(), asked, data=data, out=out, jobs=jobs, minutes=max_minutes, launcher=launcher, job=job or []
    )
    print_json(result) if as_json else show_ablation(result)
    if result["failed"]:
        raise typer.Exit(CHECK_FAILED)


@ablate_app.command(hidden=True, epilog=examples("vsr ablate-cell ablations/mine gru_concat_seed0"))
def ablate_cell(
    folder: Annotated[Path, typer.Argument(parser=as_path, help="The folder of an ablation.")],
    cell: Annotated[
        str | None, typer.Argument(help="The run, as its folder is called; none: the frozen features of all.")
    ] = None,
    parent: Annotated[int | None, typer.Option("--parent", help="The process without which this one ends.")] = None,
) -> None:
    """Do one part of an ablation's work, as `vsr ablate` has it done: train and evaluate a single run."""
    from .ablate_cell import end_with, keep_all_features, run_cell
    from .settings import registry

    if parent is not None:
        end_with(parent)
    if cell is None:
        keep_all_features(registry(), folder)
    else:
        run_cell(registry(), folder, cell)
