"""`vsr runs show`: show a run, and what to type next with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from ...console import out as console
from ...console import print_json, styled, warn
from ...errors import VsrError
from ...files.strict_json import to_json
from ...quantities import counted
from ...report.epochs import epoch_table
from ...report.formatting import clock, legend, marks
from ...report.tables import Column, fitting_table
from ...runs.history import best_row, read_history, watched_loss
from ...runs.run import Run
from ...workflows.settings import load_registry
from ..arguments import Json, RunName
from ..parsing.commands import examples
from .list import named_run, short_time

if TYPE_CHECKING:
    from ...runs.changes import Change
    from ...runs.summary import RunSummary

FILES = (
    ("configuration", "config.json"),
    ("history", "history.jsonl"),
    ("curves", "curves.png"),
    ("best weights", "checkpoints/best"),
    ("last weights", "checkpoints/last"),
    ("TensorBoard", "tensorboard"),
    ("predictions", "predictions"),
)


@examples("vsr runs show", "vsr runs show runs/lstm", "vsr runs show --json")
def runs_show(
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Show a run: its settings, epochs, scores and files, and what to type next."""
    from ...runs.changes import changes
    from ...runs.summary import evaluations, summarise

    folder = named_run(run)
    summary = summarise(folder)
    if not summary.is_readable:
        raise VsrError(str(summary.problem))
    opened = Run(folder)
    facts, config = opened.facts(), opened.config()
    changed = changes(load_registry(), config)
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
        _head(f"settings that differ from preset {config.get('preset')}")
        console.print(_change_table(changed, width=console.width))
    if history:
        _head("epochs")
        best = best_row(history, watched_loss(config))
        console.print(epoch_table(history, epochs=summary.epochs_wanted, best=best, width=console.width))
    if any(result["scores"] for result in results):
        _head("scores, each beside the baseline copy-last")
        console.print(_score_table(results, width=console.width))
        if any(score["verdict"] for result in results for score in result["scores"].values()):
            _line(legend("copy-last", encoding=console.encoding))
    _head("files")
    for what, path in files.items():
        _line(f"{what:14}{path}")
    _head("next")
    for line in following:
        _line(line)


def _next_lines(run: RunSummary) -> list[str]:
    """Return the commands to type next."""
    folder = shlex.quote(str(run.folder))
    from ...runs.summary import KILLED

    lines = []
    if run.status in ("interrupted", "failed", KILLED) and Run(run.folder).checkpoint("last").is_dir():
        lines.append(f"vsr train --resume {folder}")
    if run.status in ("interrupted", "finished"):
        lines += [f"vsr evaluate --run {folder}", f"vsr predict STORY_DIR --run {folder}"]
    return lines


def _print_facts(run: RunSummary, facts: dict[str, Any]) -> None:
    console.print(styled("[bold]{}[/bold]  {}", run.folder, run.status), soft_wrap=True)
    until = f", ended {short_time(run.ended)}" if run.ended else ""
    _line(f"started {short_time(run.started)}{until}; {clock(run.seconds)} in {counted(run.epochs_done, 'epoch')}")
    if run.problem:
        _line(f"{run.status}: {run.problem}")
    _line(f"trained on {run.data}")
    if argv := facts.get("argv"):
        _line("command: " + shlex.join(["vsr", *map(str, argv[1:])]))


def _change_table(changed: Sequence[Change], *, width: int) -> RenderableType:
    columns = [
        Column("setting", [change.setting for change in changed], justify="left"),
        Column("run", [_plain(change.value) for change in changed], justify="left"),
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


def _head(title: str) -> None:
    console.print()
    console.print(title, style="bold")


def _line(text: str) -> None:
    console.print(f"  {text}", markup=False, soft_wrap=True)
