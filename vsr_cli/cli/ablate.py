"""`vsr ablate`: many trainings in which some parts differ, and which differences are significant."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ablation.engines import ClusterJobs, Engine, LocalProcesses
from ..ablation.plan import (
    NAME,
    Ablation,
    Combination,
    Plan,
    Values,
    check_axes,
    combinations,
    default_folder,
    grid_axes,
    label_of,
    make_cells,
    part_axes,
)
from ..config.experiment import TrainConfig, resolve_metrics
from ..config.resolve import parse_set
from ..console import out as console
from ..console import say, warn
from ..data.splits import HELD_OUT
from ..distributed_env import process_count
from ..errors import VsrError, nearest
from ..files.atomic import write_json, write_text
from ..plugin.registry import Registry
from .evaluate import ALL, DEFAULT_METRICS
from .flags import resolve_train_command
from .requirements import objective_mistakes, provide
from .train import check_embedded, find_data, prepare_embedded, read_manifest

LAUNCHERS = ("local", "submitit")
OF_METRICS = "metrics."
"""What --set says of a metric begins so; all else is of the training."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed about the plan of an ablation."""

    parts: Mapping[str, Sequence[str]]
    """The components to try, by section; empty where none is named."""
    grid: Sequence[str]
    one_at_a_time: bool
    seeds: int
    split: str
    metrics: Sequence[str]
    flags: Mapping[str, Any]
    """What other flags set for all."""
    assignments: Sequence[str]
    preset: str | None
    config: Path | None


def run_ablate(
    found: Registry,
    asked: Asked,
    *,
    data: Path | None,
    out: Path | None,
    jobs: int,
    minutes: float | None,
    launcher: str,
    job: Sequence[str],
) -> dict[str, Any]:
    """Train and evaluate what is not done yet, and give what all of it comes to, as result.json has it.

    Raises VsrError for a mistake in any of the settings, before anything is trained; SystemExit after a signal, when
    all is kept.
    """
    if process_count() > 1:
        raise VsrError("ablate: starts its own processes, and cannot be one of several; leave the launcher out")
    cluster = _cluster_settings(launcher, job)
    plan, data = _make_plan(found, asked, data)
    ablation = Ablation(out or default_folder(plan))
    with ablation.alone():
        ablation.begin(plan, data)
        # Kept light until here: a mistake is told without waiting for torch.
        from ..ablation.results import results
        from ..ablation.running import is_done, run_cells

        say(f"ablation {ablation.folder}: {len(plan.cells)} runs, {len(plan.combinations)} combinations, on {data}")
        engine: Engine = LocalProcesses(jobs) if cluster is None else ClusterJobs(ablation.folder / "jobs", cluster)
        idle = all(is_done(plan, ablation, cell) for cell in plan.cells)
        if not idle and (code := engine.first(["ablate-cell", str(ablation.folder)], ablation.log("features"))):
            raise SystemExit(code)  # it has said why
        outcome = run_cells(plan, ablation, engine, jobs=jobs, minutes=minutes)
        if outcome.signal:
            say(f"interrupted, and all is kept; go on with: {shlex.join(['vsr', *sys.argv[1:]])}")
            raise SystemExit(128 + outcome.signal)
        result = results(found, plan, ablation, outcome)
        _keep(ablation, result)
    return result


def _cluster_settings(launcher: str, job: Sequence[str]) -> dict[str, str] | None:
    """Return what submitit is to ask for; None where cells are run by processes of this machine."""
    if launcher not in LAUNCHERS:
        raise VsrError(f"--launcher {launcher}: there is none of this name; {nearest(launcher, LAUNCHERS)}")
    settings = {}
    for text in job:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise VsrError(f"--job {text}: not of the form key=value, e.g. --job timeout_min=60")
        settings[key] = value
    if launcher == "local":
        if settings:
            raise VsrError("--job: is for --launcher submitit; leave one of the two out, or name both")
        return None
    return settings


def _make_plan(found: Registry, asked: Asked, data: Path | None) -> tuple[Plan, Path]:
    """Resolve every cell; where nothing is prepared yet, prepare the embedded stories once all of it is right."""
    axes = [*part_axes(asked.parts), *grid_axes(asked.grid)]
    settings = [text for text in asked.assignments if not text.startswith(OF_METRICS)]
    of_metrics = [text for text in asked.assignments if text.startswith(OF_METRICS)]
    check_axes(axes, settings)
    if asked.split not in HELD_OUT:
        raise VsrError(f"--split {asked.split}: is not held out; {nearest(asked.split, HELD_OUT)}")
    names = list(asked.metrics or DEFAULT_METRICS)
    names = found.names("metrics") if ALL in names else names
    scored_by = resolve_metrics(found, names, parse_set(of_metrics))
    folder = find_data(data)
    tried = combinations(axes, one_at_a_time=asked.one_at_a_time)
    configs = _resolve(found, asked, tried, settings=settings, folder=folder)
    records = [config.record() for config in configs]
    from ..evaluation.scoring import build_metrics, check_available  # heavy, so that all other mistakes come first

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
    folder = folder or prepare_embedded(found, show=False)
    manifest = read_manifest(folder)
    if not manifest["counts"]["windows_kept"][asked.split]:
        raise VsrError(f"--split {asked.split}: {folder} has no window in it; choose the other one, or prepare more")
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
    found: Registry, asked: Asked, tried: Sequence[Values], *, settings: Sequence[str], folder: Path | None
) -> list[TrainConfig]:
    """Return the configuration of each combination. Raises VsrError with the mistakes of all, each once."""
    configs: list[TrainConfig] = []
    mistakes: dict[str, None] = {}
    for values in tried:
        names = {setting: value for setting, value in values.items() if setting.endswith(NAME)}
        grid = [f"{setting}={value}" for setting, value in values.items() if setting not in names]
        try:
            config = resolve_train_command(
                found,
                folder,
                preset=asked.preset,
                config=asked.config,
                flags={**asked.flags, **names},
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


def _keep(ablation: Ablation, result: Mapping[str, Any]) -> None:
    from ..report.ablation import markdown
    from ..report.charts import draw_ablation

    write_json(ablation.folder / "result.json", result, seal=False)
    write_text(ablation.folder / "ablation.md", markdown(result))
    if result["metrics"]:
        draw_ablation(result, ablation.folder / "ablation.png")


def show_ablation(result: Mapping[str, Any]) -> None:
    """Print the tables, what failed or was not run, and where the rest lies."""
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
        warn(f"not run, for want of time: {', '.join(result['not_run'])}; the same line goes on")
    if result["metrics"]:
        for name in ("ablation.png", "ablation.md"):
            console.print(str(Path(result["folder"]) / name), markup=False, soft_wrap=True)
