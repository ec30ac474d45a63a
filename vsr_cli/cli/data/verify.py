"""`vsr data verify`: compare prepared data with its checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...workflows.stories import find_prepared
from ..arguments import Json, as_path
from ..parsing.commands import examples
from ..verification import show_verified


@examples("vsr data verify", "vsr data verify data/my_stories --json")
def data_verify(
    data: Annotated[
        Path | None,
        typer.Argument(parser=as_path, help="A folder that 'vsr prepare' wrote. Default: the newest under data/."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every file of prepared data and compare it with its checksum. Exit code 1 if any are damaged."""
    from ...data.prepared import open_prepared
    from ...data.verify import verify_prepared

    folder = find_prepared(data)
    show_verified(folder, verify_prepared(open_prepared(folder)), as_json=as_json)
