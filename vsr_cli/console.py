"""What people see: two consoles, one for results on stdout, one for everything else on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .launch import speaks
from .strict_json import to_json, undefined_as_null

# soft_wrap: a message stays one line, so that a log can be searched and a path copied whole.
out = Console(highlight=False)
# Where a launcher has started several processes, what each of them would say alike is said once a machine.
err = Console(stderr=True, highlight=False, quiet=not speaks())


def say(message: str) -> None:
    """Tell the person at the terminal something, on stderr."""
    err.print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Tell of something that is not right but does not stop the work, on stderr."""
    err.print("[yellow]warning:[/yellow] ", end="")
    err.print(message, markup=False, soft_wrap=True)


OTHERS_TURN = 10.0
"""Seconds that a quiet process leaves to the one that speaks."""


def fail(message: str) -> None:
    """Tell of a mistake that ends the work, on stderr.

    Of several processes that make the same one, the one that is not quiet tells of it and ends, and the launcher then
    ends the others while they wait here. One that is left over is the only one to know.
    """
    if err.quiet:
        time.sleep(OTHERS_TURN)
        err.quiet = False
    for line in message.splitlines():
        err.print("[bold red]error:[/bold red] ", end="")
        err.print(line, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Write one JSON value and a line's end to stdout, and nothing else. What is not finite is written as null."""
    sys.stdout.write(to_json(undefined_as_null(value)) + "\n")


def progress(*further: ProgressColumn) -> Progress:
    """Make a progress bar with its count, the time left and what else is asked for, on stderr.

    It leaves no trace when it is done.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *further,
        console=err,
        transient=True,
        disable=not err.is_terminal,  # a log needs no bar, nor the empty line that it would leave
    )
