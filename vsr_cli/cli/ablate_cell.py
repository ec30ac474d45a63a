"""One cell of an ablation in a process of its own: trained, or trained on, then evaluated."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

from ..ablation.plan import Ablation, Cell, Plan
from ..config.experiment import TrainConfig, resolve_metrics, resolve_recorded
from ..config.resolve import parse_set
from ..console import say
from ..errors import VsrError
from ..files.locks import is_held
from ..plugin.registry import Registry
from ..runs.opening import open_run
from ..runs.run import Run
from .evaluate import run_evaluate
from .train import read_manifest, resume_train, run_train

PATIENCE = 30.0
"""Seconds that the process of an ablation that was killed has to end, before its cell is begun again."""


def run_cell(found: Registry, folder: Path, name: str) -> Path:
    """Train a cell of an ablation, or go on with it, then evaluate it. Gives its run folder."""
    ablation = Ablation(folder)
    plan, data = _open(ablation)
    cell = plan.cell(name)
    run = Run(ablation.run(cell))
    if not (run.folder / "run.json").exists():
        shutil.rmtree(run.folder, ignore_errors=True)  # killed while it was being made
        run_train(_config(found, folder, cell), data, run.folder)
    else:
        until = time.monotonic() + PATIENCE
        while run.facts()["status"] == "running" and is_held(run.folder) and time.monotonic() < until:
            time.sleep(0.2)
        if run.facts()["status"] != "finished":
            resume_train(found, run.folder, data=data, epochs=None)
    choices = resolve_metrics(found, plan.metrics, parse_set(plan.metric_settings))
    run_evaluate(found, open_run(run.folder), data, plan.split, choices)
    return run.folder


def keep_all_features(found: Registry, folder: Path) -> None:
    """Compute the frozen features of all cells, for training and evaluation alike."""
    from ..ablation.features import cache_features
    from ..data.prepared import open_prepared

    plan, data = _open(Ablation(folder))
    configs = [_config(found, folder, cell) for cell in plan.cells]
    cache_features(configs, open_prepared(data), list(dict.fromkeys(["train", "validation", plan.split])))


def end_with(parent: int) -> None:
    """Have this process stopped, as by SIGTERM, when the process that started it is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        say("the ablation that this belongs to was killed")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _open(ablation: Ablation) -> tuple[Plan, Path]:
    plan, data = ablation.open()
    if read_manifest(data)["fingerprint"] != plan.fingerprint:
        raise VsrError(f"{data}: is no longer what the ablation {ablation.folder} began with; prepare it as it was")
    return plan, data


def _config(found: Registry, folder: Path, cell: Cell) -> TrainConfig:
    return resolve_recorded(found, cell.settings, where=f"{folder}, {cell.name}", distributions=())
