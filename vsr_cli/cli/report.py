"""`vsr report`: write an evaluation as an HTML page and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import out as console
from ..console import print_json, say
from ..errors import VsrError
from ..files.links import refuse_links
from .arguments import Data, Json, SplitName, as_path
from .parsing.commands import examples

PAGE, MARKDOWN = "report.html", "report.md"
MOST = 600
"""Storyboards of a page by default: as many generated images as an evaluation stores."""


@examples("vsr report", "vsr report runs/lstm --split validation", "vsr report runs/lstm --windows 100")
def report(
    run: Annotated[
        Path | None,
        typer.Argument(
            parser=as_path,
            help="A run, a folder that 'vsr score' wrote, or the folder of one evaluation. Default: the newest run.",
        ),
    ] = None,
    split: SplitName = "test",
    data: Data = None,
    most: Annotated[int, typer.Option("--windows", metavar="N", min=1, help="The most storyboards to show.")] = MOST,
    as_json: Json = False,
) -> None:
    """Write an HTML page of an evaluation, in one file: scores, losses, storyboards; and the same as Markdown."""
    page, text = run_report(run, data, split, most=most)
    if as_json:
        print_json({"page": str(page), "markdown": str(text)})
    else:
        console.print(str(page), soft_wrap=True)
        say(f"as Markdown, for a terminal or a pull request: {text}")


def run_report(place: Path | None, data: Path | None, split: str, *, most: int) -> tuple[Path, Path]:
    """Write report.html and report.md beside an evaluation, and return their paths.

    `place` is a run, what `vsr score` wrote, or one evaluation's folder; None: the newest run. `data` is where the
    stories are now, if not where they were when they were scored.
    """
    from ..data.prepared import open_prepared
    from ..files.atomic import write_text
    from ..report.html import write_page
    from ..report.markdown import chosen_examples, markdown
    from ..report.provenance import provenance
    from ..runs.hub import find_run
    from ..runs.opening import open_run
    from ..runs.results import EVALUATIONS, open_evaluated

    evaluated = open_evaluated(open_run(None).folder if place is None else find_run(place), split)
    scored = Path(evaluated.result["data"])
    if data is None and not scored.is_dir():
        raise VsrError(f"{scored}: the data that was scored does not exist any more; name its folder with --data DIR")
    prepared = open_prepared(data or scored)
    refuse_links(evaluated.folder, [PAGE, MARKDOWN])
    if evaluated.folder != evaluated.place:
        refuse_links(evaluated.place, [EVALUATIONS], below=False)
        refuse_links(evaluated.place / EVALUATIONS, [evaluated.folder.name], below=False)
    page, text = evaluated.folder / PAGE, evaluated.folder / MARKDOWN
    write_page(evaluated, prepared, page, most=most)
    facts = provenance(evaluated.run, evaluated.result, manifest=prepared.manifest, history=evaluated.history())
    write_text(text, markdown(evaluated, chosen_examples(evaluated), facts=facts))
    return page, text
