"""`vsr data lint`: list the problems of stories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ...console import out as console
from ...console import print_json, styled
from ...quantities import counted
from ...report.tables import Column, fitting_table
from ...workflows.settings import load_registry
from ...workflows.stories import open_stories
from ..arguments import Assignments, Dataset, Groups, Json, Limit, Source, SplitMethod
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...data.lint import Problem
    from ...plugin.registry import Registry

FAILED = 1
PLACES_SHOWN = 3
"""Of each kind of problem; --all shows all."""
COLOUR_OF = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@examples(
    "vsr data lint my_stories/",
    "vsr data lint data/my_stories --all",
    "vsr data lint --dataset story-reasoning --limit 500 --json | jq .errors",
)
def data_lint(
    source: Source = None,
    dataset: Dataset = None,
    limit: Limit = None,
    split: SplitMethod = None,
    groups: Groups = None,
    assignments: Assignments = None,
    every: Annotated[bool, typer.Option("--all", help="Show every problem, not a few of each kind.")] = False,
    as_json: Json = False,
) -> None:
    """List the problems of stories, by kind. Exit code 1 if any is an error, that is, something is left out."""
    flags = {"data.limit": limit, "data.split": split, "data.group_csv": groups}
    found = find_problems(load_registry(), source, dataset=dataset, flags=flags, assignments=assignments or [])
    if as_json:
        print_json(lint_record(found))
    else:
        show_problems(found, every=every)
    if found.count("error"):
        raise typer.Exit(FAILED)


@dataclass(frozen=True)
class Lint:
    """The problems of stories."""

    source: str
    problems: list[Problem]

    def count(self, severity: str) -> int:
        """Count the problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)


def find_problems(registry: Registry, source: str | None, **options: Any) -> Lint:
    """Check stories; options are those of `open_stories`."""
    from ...data.lint import lint

    with open_stories(registry, source, windowless=True, **options) as opened:
        return Lint(opened.source, list(lint(opened.prepared)))


def lint_record(found: Lint) -> dict[str, Any]:
    """Return the problems, for JSON."""
    counts = {f"{severity}s": found.count(severity) for severity in ("error", "warning", "note")}
    return {"source": found.source, **counts, "problems": [problem.record() for problem in found.problems]}


def show_problems(found: Lint, *, every: bool) -> None:
    """Print each kind of problem with its count, meaning and some of the places."""
    from ...data.lint import SEVERITIES, defect_of

    by_code: dict[str, list[Problem]] = {}
    for problem in found.problems:
        by_code.setdefault(problem.code, []).append(problem)
    kinds = [
        (severity, code)
        for severity in SEVERITIES
        for code in sorted(by_code, key=lambda code: (-len(by_code[code]), code))
        if defect_of(code).severity == severity
    ]
    counts = ", ".join(counted(found.count(severity), severity) for severity in SEVERITIES)
    console.print(f"{found.source}: {counts}", style="bold", markup=False, soft_wrap=True)
    if not kinds:
        return
    columns = [
        Column("severity", [Text(severity, COLOUR_OF[severity]) for severity, _ in kinds], justify="left"),
        Column("problem", [code for _, code in kinds], justify="left"),
        Column("count", [f"{len(by_code[code]):,}" for _, code in kinds]),
    ]
    console.print(fitting_table(columns, width=console.width))
    for severity, code in kinds:
        problems = by_code[code]
        places = problems if every else problems[:PLACES_SHOWN]
        heading = styled("[bold]{}[/bold]: {}", code, defect_of(code).meaning)
        console.print(Text.assemble((severity, COLOUR_OF[severity]), " ", heading), soft_wrap=True)
        for problem in places:
            frame = "" if problem.frame is None else f", frame {problem.frame + 1}"
            console.print(f"  {problem.story}{frame}: {problem.detail}", markup=False, soft_wrap=True)
        if len(places) < len(problems):
            console.print(f"  and {len(problems) - len(places)} more; --all shows them", style="dim", soft_wrap=True)
