"""`vsr ablate`: train and score combinations of components and settings, with the significance of differences."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.choices import HeldOutSplit
from ..console import out as console
from ..console import say, warn
from ..errors import VsrError
from ..files.atomic import write_json, write_text
from ..quantities import counted
from ..workflows.settings import TEXT_METRICS, comma_separated, load_registry, metric_names, resolve_train_command
from ..workflows.stories import find_data
from .arguments import Data, Form, JobSettings, Json, LauncherName, Metrics, Out, Settings, component_option, finite
from .output import chosen_format, write_result
from .parsing.commands import examples
from .parsing.completion import complete_key
from .train import check_embedded, prepare_embedded

if TYPE_CHECKING:
    from ..ablation.plan import Ablation, Plan, Values
    from ..config.experiment import TrainConfig
    from ..plugin.registry import Registry

OF_METRICS = "metrics."
"""Values of --set that begin so are for metrics; all others are for training."""
RUN_FAILED = 1
"""The exit code if a run has failed."""


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """The options that name the components to try."""

    visual: Annotated[list[str] | None, component_option("visual", several=True)] = None
    text: Annotated[list[str] | None, component_option("text", several=True)] = None
    fusion: Annotated[list[str] | None, component_option("fusion", several=True)] = None
    temporal: Annotated[list[str] | None, component_option("temporal", several=True)] = None
    text_decoder: Annotated[list[str] | None, component_option("text_decoder", several=True)] = None
    image_decoder: Annotated[list[str] | None, component_option("image_decoder", several=True)] = None

    def names(self) -> dict[str, list[str]]:
        """Return the components to try, by section; empty where none is named."""
        return {each.name: comma_separated(getattr(self, each.name) or []) for each in fields(self)}


@examples(
    "vsr ablate --temporal gru transformer mean --fusion concat gated --seeds 3",
    "vsr ablate --temporal gru lstm --grid model.width=128,256 training.learning_rate=1e-3,3e-3 --one-at-a-time",
    "vsr ablate --temporal gru lstm --seeds 5 --split test --metrics bleu meteor mse --jobs 2 --max-minutes 90",
    "vsr ablate --temporal gru lstm --launcher submitit --job slurm_partition=gpu gpus_per_node=1 --jobs 8",
    "vsr ablate --temporal gru lstm --launcher ray --job num_gpus=1 --jobs 8",
)
def ablate(
    alternatives: Alternatives = Alternatives(),
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="SECTION.KEY=A,B...",
            help="Any other setting, with the values to try.",
            autocompletion=complete_key,
        ),
    ] = None,
    one_at_a_time: Annotated[
        bool,
        typer.Option("--one-at-a-time", help="Change one setting at a time from the first values, not all at once."),
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, max=10_000, help="Runs per combination.")] = 3,
    data: Data = None,
    settings: Settings = Settings(),  # noqa: B008
    split: Annotated[HeldOutSplit, typer.Option("--split", help="The split to score.")] = "validation",
    metrics: Metrics = None,
    out: Out = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=10_000, help="Runs at the same time.")] = 1,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", metavar="M", min=0, callback=finite, help="Start no run after this time."),
    ] = None,
    launcher: LauncherName = "local",
    job: JobSettings = None,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """Train and score combinations of components with several seeds, and report which differences are significant.

    The first value of each option is the one that the others are compared with. The same command resumes an ablation
    that was interrupted.
    """
    form = chosen_format(form, as_json=as_json)
    asked = Asked(
        components=alternatives.names(),
        grid=grid or [],
        one_at_a_time=one_at_a_time,
        seeds=seeds,
        split=split,
        metrics=metrics,
        settings=settings,
    )
    result = run_ablate(
        load_registry(), asked, data=data, out=out, jobs=jobs, minutes=max_minutes, launcher=launcher, job=job or []
    )
    from ..report.sheets import ablation_sheet

    write_result(form, result, table=lambda: show_ablation(result), sheet=lambda: ablation_sheet(result))
    if result["failed"]:
        raise typer.Exit(RUN_FAILED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed about the plan of an ablation; `components` are those to try, by section."""

    components: Mapping[str, Sequence[str]]
    grid: Sequence[str]
    one_at_a_time: bool
    seeds: int
    split: str
    metrics: Sequence[str] | None
    settings: Settings


def run_ablate(
    registry: Registry,
    asked: Asked,
    *,
    data: Path | None,
    out: Path | None,
    jobs: int,
    minutes: float | None,
    launcher: str,
    job: Sequence[str],
) -> dict[str, Any]:
    """Train and evaluate what is not done yet, and return the results, as result.json has them.

    Raises VsrError for a mistake in any of the settings, before anything is trained; SystemExit after a signal.
    """
    from ..ablation.engines import check_launcher, make_engine
    from ..ablation.plan import Ablation, default_folder

    check_launcher("ablate", launcher, job)
    plan, data = _make_plan(registry, asked, data)
    ablation = Ablation(out or default_folder(plan))
    with ablation.alone():
        ablation.begin(plan, data)
        # Mistakes have been reported by now, without waiting for torch.
        from ..ablation.results import results
        from ..ablation.running import is_done, run_cells

        say(
            f"ablation {ablation.folder}: {counted(len(plan.cells), 'run')}, "
            f"{counted(len(plan.combinations), 'combination')}, on {data}"
        )
        engine = make_engine(launcher, job, jobs=jobs, folder=ablation.folder / "jobs")
        idle = all(is_done(plan, ablation, cell) for cell in plan.cells)
        if not idle and (code := engine.first(["ablate-cell", str(ablation.folder)], ablation.log("features"))):
            raise SystemExit(code)  # its process has reported why
        outcome = run_cells(plan, ablation, engine, jobs=jobs, minutes=minutes)
        if outcome.signal:
            say(f"interrupted, nothing is lost; resume with: {shlex.join(['vsr', *sys.argv[1:]])}")
            raise SystemExit(128 + outcome.signal)
        result = results(registry, plan, ablation, outcome)
        _store(ablation, result)
    return result


def _make_plan(registry: Registry, asked: Asked, data: Path | None) -> tuple[Plan, Path]:
    """Resolve every run; where nothing is prepared yet, prepare the embedded stories once there is no mistake."""
    from ..ablation.plan import (
        Combination,
        Plan,
        check_axes,
        combinations,
        grid_axes,
        label_of,
        make_cells,
        part_axes,
    )
    from ..config.experiment import resolve_metrics
    from ..config.resolve import parse_set
    from ..data.prepared import open_prepared
    from ..plugin.requirements import objective_mistakes, provide

    axes = [*part_axes(asked.components), *grid_axes(asked.grid)]
    settings = [text for text in asked.settings.assignments or [] if not text.startswith(OF_METRICS)]
    of_metrics = [text for text in asked.settings.assignments or [] if text.startswith(OF_METRICS)]
    check_axes(axes, settings)
    names = metric_names(registry, asked.metrics, default=TEXT_METRICS)
    scored_by = resolve_metrics(registry, names, parse_set(of_metrics))
    folder = find_data(data)
    tried = combinations(axes, one_at_a_time=asked.one_at_a_time)
    configs = _resolve(registry, asked, tried, settings=settings, folder=folder)
    records = [config.record() for config in configs]
    from ..evaluation.scoring import build_metrics, check_available  # imported late: other mistakes come first

    check_available(*build_metrics(scored_by))
    described = [
        Combination(label_of(values, axes), {axis.title: values[axis.setting] for axis in axes}) for values in tried
    ]
    cells = make_cells(described, records, asked.seeds)
    if folder is None:
        check_embedded(configs[0].preset)
    choices = [choice for config in configs for choice in config.parts.items()]
    provide(
        choices, mistakes=list(dict.fromkeys(line for each in configs for line in objective_mistakes(each.objective)))
    )
    folder = folder or prepare_embedded(registry, show=False)
    manifest = open_prepared(folder).manifest
    if not manifest["counts"]["windows_kept"][asked.split]:
        raise VsrError(
            f"--split {asked.split}: {folder} has no window in it; name the other one, or prepare more stories"
        )
    plan = Plan(
        combinations=described,
        cells=cells,
        fingerprint=manifest["fingerprint"],
        split=asked.split,
        metrics=names,
        metric_settings=of_metrics,
    )
    return plan, folder


def _resolve(
    registry: Registry, asked: Asked, tried: Sequence[Values], *, settings: Sequence[str], folder: Path | None
) -> list[TrainConfig]:
    """Return the configuration of each combination. Raises VsrError with the mistakes of all, each once."""
    from ..ablation.plan import NAME

    configs: list[TrainConfig] = []
    mistakes: dict[str, None] = {}
    for values in tried:
        names = {setting: value for setting, value in values.items() if setting.endswith(NAME)}
        grid = [f"{setting}={value}" for setting, value in values.items() if setting not in names]
        try:
            config = resolve_train_command(
                registry,
                folder,
                preset=asked.settings.preset,
                config=asked.settings.config,
                flags={**asked.settings.flags(), **names},
                assignments=[*settings, *grid],
            )
            configs.append(config)
        except VsrError as error:
            for line in error.lines:
                typed = [text for text in grid if line.startswith(f"--set {text}:")]
                mistakes[f"--grid {line.removeprefix('--set ')}" if typed else line] = None
    if mistakes:
        raise VsrError(*mistakes)
    return configs


def _store(ablation: Ablation, result: Mapping[str, Any]) -> None:
    from ..report.ablation import markdown
    from ..report.charts import draw_ablation

    write_json(ablation.folder / "result.json", result, seal=False)
    write_text(ablation.folder / "ablation.md", markdown(result))
    if result["metrics"]:
        draw_ablation(result, ablation.folder / "ablation.png")


def show_ablation(result: Mapping[str, Any]) -> None:
    """Print the tables, what failed or was not run, and the paths of the files."""
    from ..report.ablation import notes, tables

    for title, table in tables(result, width=console.width, encoding=console.encoding).items():
        console.print(title, style="bold", soft_wrap=True)
        console.print(table)
        console.print()
    for note in notes(result, encoding=console.encoding):
        console.print(note, markup=False, soft_wrap=True)
    for name, reason in result["failed"].items():
        warn(f"{name} has failed: {reason}")
    if result["not_run"]:
        warn(f"not run, since the time was over: {', '.join(result['not_run'])}; the same command resumes")
    if result["metrics"]:
        for name in ("ablation.png", "ablation.md"):
            console.print(str(Path(result["folder"]) / name), markup=False, soft_wrap=True)
