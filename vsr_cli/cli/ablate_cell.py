"""`vsr ablate-cell`: one run of an ablation, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import say
from ..errors import VsrError
from ..files.locks import is_held
from ..workflows.settings import load_registry
from .arguments import as_path
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..ablation.plan import Ablation, Cell, Plan
    from ..config.experiment import TrainConfig
    from ..plugin.registry import Registry
    from ..runs.run import Run

PATIENCE = 30.0
"""Seconds for the process of an ablation that was killed to end, before its run is started again."""


@examples("vsr ablate-cell ablations/mine gru_concat_seed0")
def ablate_cell(
    folder: Annotated[Path, typer.Argument(parser=as_path, help="The folder of an ablation.")],
    cell: Annotated[
        str | None, typer.Argument(help="The name of a run. Default: compute the frozen features of all runs.")
    ] = None,
    parent: Annotated[int | None, typer.Option("--parent", help="The process with which this one ends.")] = None,
) -> None:
    """Train and evaluate a single run of an ablation; started by `vsr ablate`."""
    if parent is not None:
        end_with(parent)
    if cell is None:
        compute_features(load_registry(), folder)
    else:
        run_cell(load_registry(), folder, cell)


def run_cell(registry: Registry, folder: Path, name: str) -> Path:
    """Train a run of an ablation, or resume it, then evaluate it; return its folder."""
    from ..ablation.plan import Ablation
    from ..config.experiment import resolve_metrics
    from ..config.resolve import parse_set
    from ..runs.opening import open_run
    from ..workflows.evaluation import run_evaluate

    ablation = Ablation(folder)
    plan, data = _open(ablation)
    cell = plan.cell(name)
    run = train_or_resume(registry, _config(registry, folder, cell), data, ablation.run(cell))
    choices = resolve_metrics(registry, plan.metrics, parse_set(plan.metric_settings))
    run_evaluate(registry, open_run(run.folder), data, plan.split, choices)
    return run.folder


def train_or_resume(registry: Registry, config: TrainConfig, data: Path, folder: Path) -> Run:
    """Train a run, or resume it where it was stopped, and return it when it is finished."""
    from ..runs.run import Run
    from ..workflows.training import resume_train, run_train

    run = Run(folder)
    if not (folder / "run.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # killed while it was being made
        return run_train(config, data, folder)
    until = time.monotonic() + PATIENCE
    while run.facts()["status"] == "running" and is_held(folder) and time.monotonic() < until:
        time.sleep(0.2)
    if run.facts()["status"] != "finished":
        resume_train(registry, folder, data=data, epochs=None)
    return run


def compute_features(registry: Registry, folder: Path) -> None:
    """Compute the frozen features of all runs, for training and evaluation."""
    from ..ablation.features import cache_features
    from ..ablation.plan import Ablation
    from ..data.prepared import open_prepared

    plan, data = _open(Ablation(folder))
    configs = [_config(registry, folder, cell) for cell in plan.cells]
    cache_features(configs, open_prepared(data), list(dict.fromkeys(["train", "validation", plan.split])))


def refuse_other_data(data: Path, fingerprint: str, what: str) -> None:
    """Raise VsrError if prepared data is not what the runs of an ablation or a search were planned for."""
    from ..data.prepared import open_prepared

    if open_prepared(data).manifest["fingerprint"] != fingerprint:
        raise VsrError(f"{data}: is not the data that the {what} was started with; prepare that again")


def end_with(parent: int) -> None:
    """Stop this process as by SIGTERM when the process that started it has ended, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        say("the command that has started this run was killed")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _open(ablation: Ablation) -> tuple[Plan, Path]:
    plan, data = ablation.open()
    refuse_other_data(data, plan.fingerprint, f"ablation {ablation.folder}")
    return plan, data


def _config(registry: Registry, folder: Path, cell: Cell) -> TrainConfig:
    from ..config.experiment import resolve_recorded

    return resolve_recorded(registry, cell.settings, where=f"{folder}, {cell.name}", distributions=())
