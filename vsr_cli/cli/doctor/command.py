"""`vsr doctor`: check the installation and the machine."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ...console import out as console
from ...console import print_json
from ...plugin.discovery import registry as discovered
from ...quantities import counted
from ...report.tables import Column, fitting_table
from ..arguments import Json
from ..parsing.commands import examples
from .finding import Finding

PROBLEM_FOUND = 1
MARKS = {"ok": "ok", "absent": "-", "warning": "warning", "problem": "problem"}


@examples("vsr doctor", "vsr doctor --json")
def doctor(as_json: Json = False) -> None:
    """Check versions, devices, disk space, weights, fonts, extras and plugins, and say how to get what is missing.

    Exit code 1 if something that a command needs is broken. What is optional and missing is no problem.
    """
    from .software import software

    registry = discovered()
    findings = software(registry)
    from .machine import machine  # imports torch, after what is readable without it
    from .weights import weights

    findings += [*machine(), *weights(registry)]
    problems = [each for each in findings if each.state == "problem"]
    if as_json:
        print_json({"ok": not problems, "findings": [each.record() for each in findings]})
    else:
        _show(findings)
    if problems:
        raise typer.Exit(PROBLEM_FOUND)


def _show(findings: Sequence[Finding]) -> None:
    for group in dict.fromkeys(each.group for each in findings):
        console.print(group, style="bold")
        of_group = [each for each in findings if each.group == group]
        columns = [
            Column("", [MARKS[each.state] for each in of_group], justify="left"),
            Column("", [each.name for each in of_group], justify="left"),
            Column("", [each.value for each in of_group], justify="left", wraps=30),
        ]
        styles = ["bold red" if each.state == "problem" else "" for each in of_group]
        console.print(fitting_table(columns, width=console.width, styles=styles))
        console.print()
    todo = [each for each in findings if each.remedy]
    for title, states in (("to repair", ("problem", "warning")), ("to get what is missing", ("absent",))):
        lines = [each for each in todo if each.state in states]
        if lines:
            console.print(title, style="bold")
        for each in lines:
            console.print(f"  {each.name}: {each.remedy}", markup=False, soft_wrap=True)
    count = sum(each.state == "problem" for each in findings)
    console.print(counted(count, "problem") if count else "no problem", style="bold")
