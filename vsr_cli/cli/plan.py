"""`vsr train --dry-run`: what a training would take, before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding

from ..config.experiment import TrainConfig
from ..console import out as console
from ..distributed_env import process_count
from ..errors import VsrError
from ..report.formatting import clock
from ..report.tables import Column, fitting_table
from .requirements import objective_mistakes, provide

if TYPE_CHECKING:
    from ..training.plan import Plan
    from ..training.plan_features import FeatureNeed

INDENT = 2
WHAT = {"visual": "images", "text": "texts"}


def run_plan(config: TrainConfig, data: Path | None) -> Plan:
    """Measure a few steps of a training. Leaves nothing behind, neither a run nor features nor prepared data."""
    if data is None:
        raise VsrError(
            "--dry-run: nothing is prepared under data/ yet, and a plan is made on real windows; "
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
        f"on {plan.data}: {plan.windows['train']} windows to train on, {plan.windows['validation']} to validate on; "
        f"{plan.device}{mixed}",
        markup=False,
        soft_wrap=True,
    )
    _head("parameters")
    parts = list(plan.parts)
    trained, frozen = sum(part.trained for part in parts), sum(part.frozen for part in parts)
    _table(
        Column("part", [*(part.part.replace("_", " ") for part in parts), "together"], justify="left"),
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
        f"memory of a step, on {plan.device}",
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("together", memory.together),
    )
    _sizes(
        "disk",
        ("frozen weights, once", disk.frozen_weights),
        ("best checkpoint", disk.trained_weights),
        ("last checkpoint", disk.trained_weights + disk.optimizer),
        ("run folder at its largest", disk.run),
    )
    _head(f"time, from a few steps of {plan.windows_per_step} windows")
    computing = [("features to compute", clock(plan.feature_seconds))] if plan.feature_seconds else []
    times = [
        *computing,
        ("a step", f"{plan.step_seconds:.3g} s"),
        (f"an epoch of {plan.steps_per_epoch} steps, and its validation", clock(plan.epoch_seconds)),
        (f"all, {plan.epochs} epochs", clock(plan.training_seconds)),
    ]
    _table(Column("", [name for name, _ in times], justify="left"), Column("", [time for _, time in times]))


def _need_line(need: FeatureNeed) -> str:
    what = f"{need.kind}: {need.rows} {WHAT[need.kind]}"
    if not need.missing:
        return f"{what}, all kept in {need.folder}"
    if not need.fits:
        return f"{what}, which would not fit in {need.folder.parent}: computed anew in each step"
    return (
        f"{what}, {need.rows - need.missing} kept, {need.missing} to compute in {clock(need.seconds)}, "
        f"{_size(need.missing_bytes)} more in {need.folder}"
    )


def _sizes(title: str, *rows: tuple[str, int]) -> None:
    _head(title)
    _table(Column("", [name for name, _ in rows], justify="left"), Column("", [_size(size) for _, size in rows]))


def _table(*columns: Column) -> None:
    console.print(Padding.indent(fitting_table(columns, width=console.width - INDENT), INDENT))


def _size(size: float) -> str:
    """Show a number of bytes."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1024
    return f"{size:.3g} GiB"


def _head(title: str) -> None:
    console.print()
    console.print(title, style="bold")
