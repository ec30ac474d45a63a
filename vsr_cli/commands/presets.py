"""`vsr presets`: the settings that a preparation and a training can start from."""

from __future__ import annotations

from dataclasses import asdict

import typer

from ..console import out as console
from ..console import print_json
from ..layers import preset_facts
from .options import Json
from .words import examples

presets_app = typer.Typer()


@presets_app.command(epilog=examples("vsr presets", "vsr prepare my_stories/ --preset laptop", "vsr presets --json"))
def presets(as_json: Json = False) -> None:
    """List the presets: what each is, what it downloads, and what machine it takes."""
    found = preset_facts()
    if as_json:
        print_json([asdict(facts) for facts in found])
        return
    for facts in found:
        console.print(f"[bold]{facts.name}[/bold]: {facts.summary}", soft_wrap=True)
        console.print(f"  downloads {facts.download}", markup=False, soft_wrap=True)
        console.print(f"  takes {facts.machine}", markup=False, soft_wrap=True)
