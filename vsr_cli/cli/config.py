"""`vsr config show` and `vsr presets`: settings, resolved or to start from."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from ..config.presets import preset_facts, preset_names
from ..console import out as console
from ..console import print_json
from ..report.tables import Column, fitting_table
from ..workflows.settings import load_registry, resolve_train_command
from ..workflows.stories import find_data
from .arguments import Components, Data, Json, Settings, Track
from .parsing.commands import examples


@examples("vsr config show --temporal lstm --epochs 3", "vsr config show --preset reference > mine.json")
def config_show(
    data: Data = None,
    components: Components = Components(),  # noqa: B008 - frozen
    settings: Settings = Settings(),  # noqa: B008
    track: Track = None,
) -> None:
    """Print the resolved configuration of a train command, in the form that --config takes."""
    flags = {**components.flags(), **settings.flags(), "training.track": track or None}
    config = resolve_train_command(load_registry(), find_data(data), flags=flags, **settings.layers())
    print_json(config.record(), indent=2)


@examples("vsr presets", "vsr prepare my_stories/ --preset laptop", "vsr presets --json")
def presets(as_json: Json = False) -> None:
    """List the presets: what each is, what it downloads, and what machine it needs."""
    facts = [preset_facts(name) for name in preset_names()]
    if as_json:
        print_json([asdict(each) for each in facts])
        return
    columns = [
        Column("preset", [Text(each.name, "bold") for each in facts], justify="left"),
        Column("description", [each.summary for each in facts], justify="left", wraps=20),
        Column("downloads", [each.download for each in facts], justify="left", wraps=20),
        Column("needs", [each.machine for each in facts], justify="left", wraps=20),
    ]
    console.print(fitting_table(columns, width=console.width))
