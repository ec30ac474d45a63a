"""`vsr presets`: the settings that a preparation and a training can start from."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.text import Text

from ..config.resolve import preset_facts
from ..console import out as console
from ..console import print_json
from ..report.tables import Column, fitting_table
from .arguments import Json
from .parsing import examples

presets_app = typer.Typer()


@presets_app.command(epilog=examples("vsr presets", "vsr prepare my_stories/ --preset laptop", "vsr presets --json"))
def presets(as_json: Json = False) -> None:
    """List the presets: what each is, what it downloads, and what machine it takes."""
    found = preset_facts()
    if as_json:
        print_json([asdict(facts) for facts in found])
        return
    columns = [
        Column("preset", [Text(facts.name, "bold") for facts in found], justify="left"),
        Column("what it is", [facts.summary for facts in found], justify="left", wraps=20),
        Column("downloads", [facts.download for facts in found], justify="left", wraps=20),
        Column("takes", [facts.machine for facts in found], justify="left", wraps=20),
    ]
    console.print(fitting_table(columns, width=console.width))
