"""`vsr runs list`: list the runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from ...console import out as console
from ...console import say, warn
from ...errors import VsrError
from ...report.tables import Column, fitting_table
from ...runs.run import RUNS
from ..arguments import Form, Json, as_path
from ..output import chosen_format, write_result
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...runs.summary import RunSummary


@examples("vsr runs list", "vsr runs list demo/runs", "vsr runs list --json")
def runs_list(
    folder: Annotated[Path, typer.Argument(parser=as_path, help="A folder of runs.")] = RUNS,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """List the runs, the newest first: their progress, best loss, and the components in which they differ."""
    from ...report.sheets import runs_sheet
    from ...runs.summary import summaries

    form = chosen_format(form, as_json=as_json)
    if folder != RUNS and not folder.is_dir():
        raise VsrError(f"{folder}: there is no such folder; name a folder of runs")
    runs = summaries(folder)
    if not runs and form != "json":
        say(f"{folder}/: no run yet; 'vsr train' writes one under {RUNS}/")
        return
    write_result(form, [run.record() for run in runs], table=lambda: _show(runs), sheet=lambda: runs_sheet(runs))


def _show(runs: Sequence[RunSummary]) -> None:
    console.print(_run_table(runs, width=console.width))
    for run in runs:
        if not run.is_readable:
            warn(str(run.problem))
        elif run.problem:
            console.print(f"{run.folder.name}: {run.status}: {run.problem}", markup=False, soft_wrap=True)


def named_run(run: Path | None, *, only_here: bool = False) -> Path:
    """Return the folder of a run, named as `find_run` reads it, or as `local_run` does; None: the newest one."""
    from ...runs.hub import find_run, local_run
    from ...runs.summary import summaries

    if run is not None:
        folder = local_run(run) if only_here else find_run(run)
        if not folder.is_dir():
            raise VsrError(f"{run}: there is no such run; 'vsr runs list' shows those under {RUNS}/")
        return folder
    whole = [summary for summary in summaries(RUNS) if summary.is_readable]
    if not whole:
        raise VsrError(f"{RUNS}/: no run yet; train one with 'vsr train', or name the folder of a run")
    return whole[0].folder


def _run_table(runs: Sequence[RunSummary], *, width: int) -> RenderableType:
    """Return the table of runs; components in which they do not differ are left out, and what does not fit."""
    from ...report.formatting import clock, loss_text
    from ...runs.summary import differing_parts

    columns = [
        Column("run", [run.folder.name for run in runs], justify="left"),
        Column("status", [run.status for run in runs], justify="left"),
        Column("started", [short_time(run.started) for run in runs], rank=5, justify="left"),
        Column("data", [Path(run.data).name for run in runs], rank=3, justify="left"),
    ]
    for part in differing_parts(runs):
        cells = [run.parts.get(part, "") for run in runs]
        columns.append(Column(part.replace("_", " "), cells, rank=1 if part == "temporal" else 2, justify="left"))
    whole = [run if run.is_readable else None for run in runs]
    epochs = [f"{run.epochs_done}/{run.epochs_wanted}" if run else "" for run in whole]
    columns += [
        Column("epochs", epochs),
        Column("best loss", [loss_text(run.best_validation) for run in runs]),
        Column("time", [clock(run.seconds) if run else "" for run in whole], rank=4),
    ]
    return fitting_table(columns, width=width)


def short_time(time: str | None) -> str:
    """Show an ISO time to the minute, in the zone that it was written in."""
    return time[:16].replace("T", " ") if time else ""
