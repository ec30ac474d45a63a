"""`vsr train --dry-run`: the memory, disk space and time that a training needs, measured on a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding

from ..config.experiment import TrainConfig
from ..console import out as console
from ..distributed_env import process_count
from ..errors import VsrError
from ..plugin.requirements import objective_mistakes, provide
from ..quantities import counted, size
from ..report.formatting import clock
from ..report.tables import Column, fitting_table

if TYPE_CHECKING:
    from ..training.plan import Plan
    from ..training.plan_features import FeatureNeed

INDENT = 2
WHAT = {"visual": "image", "text": "text"}


def run_plan(config: TrainConfig, data: Path | None) -> Plan:
    """Measure a few steps of a training, without writing anything."""
    if data is None:
        raise VsrError(
            "--dry-run: nothing is prepared under data/ yet, and the steps are measured on real windows; "
            "run 'vsr prepare' first, or name a folder with --data DIR"
        )
    if process_count() > 1:
        raise VsrError(
            f"--dry-run: plans for one process, and a launcher has started {process_count()}; "
            "run it without the launcher"
        )
    from ..data.prepared import open_prepared
    from ..training.distributed import start
    from ..training.plan import plan_training

    provide(config.parts.items(), mistakes=objective_mistakes(config.objective))
    return plan_training(config, open_prepared(data), accelerator=start(config.training))


def show_plan(plan: Plan) -> None:
    """Print the plan."""
    mixed = "" if plan.precision == "fp32" else f", {plan.precision}"
    console.print(
        f"on {plan.data}: {counted(plan.windows['train'], 'window')} to train on, {plan.windows['validation']} to "
        f"validate on; {plan.device}{mixed}",
        markup=False,
        soft_wrap=True,
    )
    _head("parameters")
    parts = list(plan.parts)
    trained, frozen = sum(part.trained for part in parts), sum(part.frozen for part in parts)
    _table(
        Column("part", [*(part.part.replace("_", " ") for part in parts), "total"], justify="left"),
        Column("component", [*(part.component or "" for part in parts), ""], justify="left"),
        Column("trained", [*(f"{part.trained:,}" for part in parts), f"{trained:,}"]),
        Column("frozen", [*(f"{part.frozen:,}" for part in parts), f"{frozen:,}"]),
    )
    if plan.features:
        _head("frozen features")
        for need in plan.features:
            console.print(f"  {_need_line(need)}", markup=False, soft_wrap=True)
    memory, disk = plan.memory, plan.disk
    _sizes(
        f"memory per step, on {plan.device}",
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("total", memory.together),
    )
    _sizes(
        "disk",
        ("frozen weights, written once", disk.frozen_weights),
        ("best checkpoint", disk.trained_weights),
        ("last checkpoint", disk.trained_weights + disk.optimizer),
        ("run folder at its largest", disk.run),
    )
    _head(f"time, from a few steps of {counted(plan.windows_per_step, 'window')}")
    computing = [("features to compute", clock(plan.feature_seconds))] if plan.feature_seconds else []
    times = [
        *computing,
        ("per step", f"{plan.step_seconds:.3g} s"),
        (f"per epoch of {counted(plan.steps_per_epoch, 'step')}, with validation", clock(plan.epoch_seconds)),
        (f"total, {counted(plan.epochs, 'epoch')}", clock(plan.training_seconds)),
    ]
    _table(Column("", [name for name, _ in times], justify="left"), Column("", [time for _, time in times]))


def _need_line(need: FeatureNeed) -> str:
    what = f"{need.kind}: {counted(need.rows, WHAT[need.kind])}"
    if not need.missing:
        return f"{what}, all cached in {need.folder}"
    if not need.fits:
        return f"{what}, which do not fit in {need.folder.parent}, so they are computed in each step"
    return (
        f"{what}, {need.rows - need.missing} cached, {need.missing} to compute in {clock(need.seconds)}, "
        f"{size(need.missing_bytes)} more in {need.folder}"
    )


def _sizes(title: str, *rows: tuple[str, int]) -> None:
    _head(title)
    _table(Column("", [name for name, _ in rows], justify="left"), Column("", [size(count) for _, count in rows]))


def _table(*columns: Column) -> None:
    console.print(Padding.indent(fitting_table(columns, width=console.width - INDENT), INDENT))


def _head(title: str) -> None:
    console.print()
    console.print(title, style="bold")
