"""`vsr runs rename`: rename a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...console import print_json, say
from ..arguments import Json, as_path
from ..parsing.commands import examples
from ..parsing.completion import complete_run_name
from .list import named_run


@examples("vsr runs rename 2026-11-30_10-00-00_gru gru-256", "vsr runs rename demo/runs/run-1 first")
def runs_rename(
    old: Annotated[
        Path,
        typer.Argument(
            metavar="OLD",
            parser=as_path,
            help="A run's folder, or its name under runs/.",
            autocompletion=complete_run_name,
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name; the run stays where it is.")],
    as_json: Json = False,
) -> None:
    """Rename a run. Its results, predictions and reports are in its folder, so they keep."""
    from ...runs.renaming import rename_run

    folder = named_run(old, only_here=True)
    renamed = rename_run(folder, new)
    if as_json:
        print_json({"old": str(folder), "new": str(renamed)})
    else:
        say(f"{folder} is now {renamed}")
