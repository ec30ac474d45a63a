"""`vsr card`: write the model card of a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from ..console import out as console
from ..console import print_json
from ..errors import VsrError
from ..files.atomic import replacing, write_text
from ..files.links import refuse_links
from .arguments import Json, License, RunName, Storyboards, as_path
from .parsing.commands import examples

CARD = "README.md"
OURS = "library_name: vsr"
"""In every card, so that no other file is overwritten."""


@examples("vsr card", "vsr card runs/lstm --license cc-by-4.0", "vsr card runs/lstm --out card/README.md")
def card(
    run: RunName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", parser=as_path, help="The file to write. Default: README.md in the run's folder."
        ),
    ] = None,
    license_name: License = None,
    storyboards: Storyboards = None,
    as_json: Json = False,
) -> None:
    """Write the model card of a run: what it is, its scores beside baselines, its data and limits, and how to use it.

    'vsr push' writes the same card with the id that it uploads to.
    """
    path = run_card(run, out, licence=license_name, stories=storyboards)
    print_json({"card": str(path)}) if as_json else console.print(str(path), markup=False, soft_wrap=True)


def run_card(named: Path | None, out: Path | None, *, licence: str | None, stories: bool | None) -> Path:
    """Write the card, and beside it its image if it is not in the run's folder; return its path."""
    from ..runs.opening import open_run
    from ..workflows.sharing import describe_run

    run = open_run(named)
    path = out or run.folder / CARD
    if path.is_dir():
        raise VsrError(f"--out {path}: is a folder; name a file, such as {path / CARD}")
    refuse_links(path.parent, [path.name])
    if path.exists() and OURS not in path.read_text(encoding="utf-8", errors="replace"):
        raise VsrError(f"{path}: is no card of vsr, and nothing is overwritten; name another file with --out FILE")
    described = describe_run(run, stories=stories)
    image = described.storyboards
    link = None
    if image is not None and out is None:
        link = image.relative_to(run.folder).as_posix()
    elif image is not None:
        beside = path.with_name(f"{path.stem}-{image.name}")
        with replacing(beside) as temporary:
            shutil.copyfile(image, temporary)
        link = beside.name
    write_text(path, described.card(name=None, licence=licence, storyboards=link))
    return path
