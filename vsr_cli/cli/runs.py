"""`vsr runs`: what was trained, how far it came, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from ..console import out as console
from ..console import print_json, say, styled, warn
from ..distributed_env import is_main
from ..errors import VsrError
from ..files.strict_json import to_json
from ..report.epochs import epoch_table
from ..report.formatting import clock, legend, loss_text, marks
from ..report.tables import Column, fitting_table
from ..runs.history import best_row, read_history, watched_loss
from ..runs.opening import RUNS
from ..runs.run import Run
from ..runs.summary import (
    KILLED,
    Change,
    RunSummary,
    changes,
    differing_parts,
    evaluations,
    summaries,
    summarise,
)
from .arguments import Json, as_path
from .parsing import examples
from .settings import registry

runs_app = typer.Typer(no_args_is_help=True, help="What was trained, and how it went.")

FILES = (
    ("configuration", "config.json"),
    ("history", "history.jsonl"),
    ("curves", "curves.png"),
    ("best weights", "checkpoints/best"),
    ("last weights", "checkpoints/last"),
    ("TensorBoard", "tensorboard"),
    ("predictions", "predictions"),
)


@runs_app.command("list", epilog=examples("vsr runs list", "vsr runs list demo/runs", "vsr runs list --json"))
def runs_list(
    folder: Annotated[Path, typer.Argument(parser=as_path, help="Where the run folders lie.")] = RUNS,
    as_json: Json = False,
) -> None:
    """List the runs, the newest first: how far each came, and in what they differ."""
    if folder != RUNS and not folder.is_dir():
        raise VsrError(f"{folder}: there is no such folder; name one that holds run folders")
    runs = summaries(folder)
    if as_json:
        print_json([run.record() for run in runs])
        return
    if not runs:
        say(f"{folder}/: no run here yet; 'vsr train' makes one under {RUNS}/")
        return
    console.print(_run_table(runs, width=console.width))
    for run in runs:
        if not run.is_readable:
            warn(str(run.problem))
        elif run.problem:
            console.print(f"{run.folder.name}: {run.status}: {run.problem}", markup=False, soft_wrap=True)


@runs_app.command("show", epilog=examples("vsr runs show", "vsr runs show runs/mine", "vsr runs show --json"))
def runs_show(
    run: Annotated[
        Path | None,
        typer.Argument(
            parser=as_path, metavar="[RUN]", help="A run's folder, or its name under runs/; else the newest."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one run: its settings, epochs, scores and files, and how to go on with it."""
    folder = _find(run)
    summary = summarise(folder)
    if not summary.is_readable:
        raise VsrError(str(summary.problem))
    opened = Run(folder)
    facts, config = opened.facts(), opened.config()
    changed = changes(registry(), config)
    results, problems = evaluations(opened)
    history = read_history(opened.history)
    files = {what: str(folder / name) for what, name in FILES if (folder / name).exists()}
    following = _next_lines(summary)
    for problem in problems:
        warn(problem)
    if as_json:
        print_json(
            {
                **summary.record(),
                "argv": facts.get("argv", []),
                "preset": config.get("preset"),
                "changes": [vars(change) for change in changed],
                "config": config,
                "history": history,
                "evaluations": results,
                "files": files,
                "next": following,
            }
        )
        return
    _print_facts(summary, facts)
    if changed:
        _head(f"settings other than preset {config.get('preset')}'s")
        console.print(_change_table(changed, width=console.width))
    if history:
        _head("epochs")
        best = best_row(history, watched_loss(config))
        console.print(epoch_table(history, epochs=summary.epochs_wanted, best=best, width=console.width))
    if any(result["scores"] for result in results):
        _head("scores, each beside that of copying the last frame")
        console.print(_score_table(results, width=console.width))
        _line(legend("copy-last", encoding=console.encoding))
    _head("files")
    for what, path in files.items():
        _line(f"{what:14}{path}")
    _head("next")
    for line in following:
        _line(line)


@runs_app.command("verify", epilog=examples("vsr runs verify", "vsr runs verify runs/mine --json"))
def runs_verify(
    run: Annotated[
        Path | None,
        typer.Argument(parser=as_path, help="A run, by its folder or name under runs/; else the newest."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every file of a run and compare it with its checksum. Exit code 1 if something is damaged."""
    from .verify import show_verified, verify_run

    folder = _find(run)
    show_verified(folder, verify_run(folder), as_json=as_json)


def tell_run(run: Run, *, as_json: bool) -> None:
    """Say what to type next with a run that has just been trained, or give its summary as JSON."""
    if not as_json:
        say(f"next: vsr evaluate --run {run.folder}")
    elif is_main():
        print_json(summarise(run.folder).record())


def _find(run: Path | None) -> Path:
    """Return the folder of a run that is named, by its path or by its name under runs/, or else of the newest one."""
    if run is not None:
        folder = run if run.is_dir() or not (RUNS / run).is_dir() else RUNS / run
        if not folder.is_dir():
            raise VsrError(f"{run}: there is no such run; 'vsr runs list' shows those under {RUNS}/")
        return folder
    whole = [summary for summary in summaries(RUNS) if summary.is_readable]
    if not whole:
        raise VsrError(f"{RUNS}/: no run here; train one with 'vsr train', or name the folder of one")
    return whole[0].folder


def _next_lines(run: RunSummary) -> list[str]:
    """Return the commands that one would type next."""
    folder = shlex.quote(str(run.folder))
    lines = []
    if run.status in ("interrupted", "failed", KILLED) and Run(run.folder).checkpoint("last").is_dir():
        lines.append(f"vsr train --resume {folder}")
    if run.status in ("interrupted", "finished"):
        lines += [f"vsr evaluate --run {folder}", f"vsr predict STORY_DIR --run {folder}"]
    return lines


def _run_table(runs: Sequence[RunSummary], *, width: int) -> RenderableType:
    """Make the table of runs; the parts in which they do not differ are left out, and what there is no room for."""
    columns = [
        Column("run", [run.folder.name for run in runs], justify="left"),
        Column("status", [run.status for run in runs], justify="left"),
        Column("started", [_short_time(run.started) for run in runs], rank=5, justify="left"),
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


def _print_facts(run: RunSummary, facts: dict[str, Any]) -> None:
    console.print(styled("[bold]{}[/bold]  {}", run.folder, run.status), soft_wrap=True)
    until = f", ended {_short_time(run.ended)}" if run.ended else ""
    _line(f"started {_short_time(run.started)}{until}; {clock(run.seconds)} in {run.epochs_done} epochs")
    if run.problem:
        _line(f"{run.status}: {run.problem}")
    _line(f"trained on {run.data}")
    if argv := facts.get("argv"):
        _line("by " + shlex.join(["vsr", *map(str, argv[1:])]))


def _change_table(changed: Sequence[Change], *, width: int) -> RenderableType:
    columns = [
        Column("setting", [change.setting for change in changed], justify="left"),
        Column("here", [_plain(change.value) for change in changed], justify="left"),
        Column("preset", [_plain(change.preset) for change in changed], justify="left"),
    ]
    return fitting_table(columns, width=width)


def _score_table(results: Sequence[dict[str, Any]], *, width: int) -> RenderableType:
    rows = [(result, name, score) for result in results for name, score in result["scores"].items()]
    columns = [
        Column("evaluation", [Path(result["folder"]).name for result, _, _ in rows], justify="left"),
        Column("windows", [str(result["windows"]) for result, _, _ in rows], rank=1),
        Column("metric", [name for _, name, _ in rows], justify="left"),
        Column("model", [f"{score['value']:.4g}" for _, _, score in rows]),
        Column("copy-last", [f"{score['copy-last']:.4g}" for _, _, score in rows]),
        Column("verdict", [marks(console.encoding)[score["verdict"]] for _, _, score in rows], justify="left"),
    ]
    return fitting_table(columns, width=width)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


def _short_time(time: str | None) -> str:
    """Show an ISO time to the minute, in the zone that it was written in."""
    return time[:16].replace("T", " ") if time else ""


def _head(title: str) -> None:
    console.print()
    console.print(title, style="bold")


def _line(text: str) -> None:
    console.print(f"  {text}", markup=False, soft_wrap=True)
