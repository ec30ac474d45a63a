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
    from ..runs.run import Run
    from ..workflows.evaluation import run_evaluate
    from ..workflows.training import resume_train, run_train

    ablation = Ablation(folder)
    plan, data = _open(ablation)
    cell = plan.cell(name)
    run = Run(ablation.run(cell))
    if not (run.folder / "run.json").exists():
        shutil.rmtree(run.folder, ignore_errors=True)  # killed while it was being made
        run_train(_config(registry, folder, cell), data, run.folder)
    else:
        until = time.monotonic() + PATIENCE
        while run.facts()["status"] == "running" and is_held(run.folder) and time.monotonic() < until:
            time.sleep(0.2)
        if run.facts()["status"] != "finished":
            resume_train(registry, run.folder, data=data, epochs=None)
    choices = resolve_metrics(registry, plan.metrics, parse_set(plan.metric_settings))
    run_evaluate(registry, open_run(run.folder), data, plan.split, choices)
    return run.folder


def compute_features(registry: Registry, folder: Path) -> None:
    """Compute the frozen features of all runs, for training and evaluation."""
    from ..ablation.features import cache_features
    from ..ablation.plan import Ablation
    from ..data.prepared import open_prepared

    plan, data = _open(Ablation(folder))
    configs = [_config(registry, folder, cell) for cell in plan.cells]
    cache_features(configs, open_prepared(data), list(dict.fromkeys(["train", "validation", plan.split])))


def end_with(parent: int) -> None:
    """Stop this process as by SIGTERM when the process that started it has ended, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        say("the ablation of this run was killed")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _open(ablation: Ablation) -> tuple[Plan, Path]:
    from ..data.prepared import open_prepared

    plan, data = ablation.open()
    if open_prepared(data).manifest["fingerprint"] != plan.fingerprint:
        raise VsrError(
            f"{data}: is not the data that the ablation {ablation.folder} was started with; prepare that again"
        )
    return plan, data


def _config(registry: Registry, folder: Path, cell: Cell) -> TrainConfig:
    from ..config.experiment import resolve_recorded

    return resolve_recorded(registry, cell.settings, where=f"{folder}, {cell.name}", distributions=())
