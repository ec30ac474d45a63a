"""`vsr report`: write an evaluation, or several side by side, as an HTML page and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import out as console
from ..console import print_json, say
from ..errors import VsrError
from ..files.links import refuse_links
from .arguments import Json, ScoredData, SplitName, as_path
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..data.prepared import Prepared
    from ..runs.results import Evaluated

PAGE, MARKDOWN = "report.html", "report.md"
MOST = 600
"""Storyboards of a page by default: as many generated images as an evaluation stores."""
MOST_SIDE_BY_SIDE = 60
"""The same of several runs, whose page has no script that shows them in turn."""
OURS = '<meta name="generator" content="vsr report">'
"""In every page, so that no other file is overwritten."""


@examples(
    "vsr report",
    "vsr report runs/lstm --split validation",
    "vsr report runs/lstm --windows 100",
    "vsr report runs/gru runs/lstm --out comparison.html",
)
def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=as_path,
            metavar="[RUN]...",
            help="A run, a folder that 'vsr score' wrote, or the folder of one evaluation; or several of the same "
            "windows. Default: the newest run.",
        ),
    ] = None,
    split: SplitName = "test",
    data: ScoredData = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--windows",
            metavar="N",
            min=1,
            help=f"The most storyboards to show. Default: {MOST}, of several runs {MOST_SIDE_BY_SIDE}.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=as_path,
            help="The HTML page to write; the Markdown stands beside it. Default: in the folder of the evaluation.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write an HTML page of an evaluation, in one file: scores, losses, storyboards; and the same as Markdown.

    Of several runs, the page shows their scores, the settings that differ, and their predictions side by side.
    """
    if runs and len(runs) > 1:
        page, text = run_report_of_several(runs, data, split, most=most or MOST_SIDE_BY_SIDE, out=out)
    else:
        page, text = run_report(runs[0] if runs else None, data, split, most=most or MOST, out=out)
    if as_json:
        print_json({"page": str(page), "markdown": str(text)})
    else:
        console.print(str(page), soft_wrap=True)
        say(f"as Markdown, for a terminal or a pull request: {text}")


def run_report(
    place: Path | None, data: Path | None, split: str, *, most: int, out: Path | None = None
) -> tuple[Path, Path]:
    """Write report.html and report.md beside an evaluation, or into the file `out`, and return their paths.

    `place` is a run, what `vsr score` wrote, or one evaluation's folder; None: the newest run. `data` is the
    data that was scored, where it is now, if it is not the run's own where that was.
    """
    from ..files.atomic import write_text
    from ..report.html import write_page
    from ..report.markdown import chosen_examples, markdown
    from ..report.provenance import provenance
    from ..runs.hub import find_run
    from ..runs.opening import open_run
    from ..runs.results import EVALUATIONS, open_evaluated

    named = _files_of(out) if out else None
    evaluated = open_evaluated(open_run(None).folder if place is None else find_run(place), split, data=data)
    prepared = _scored_data(evaluated, data)
    if evaluated.folder != evaluated.place:
        refuse_links(evaluated.place, [EVALUATIONS], below=False)
        refuse_links(evaluated.place / EVALUATIONS, [evaluated.folder.name], below=False)
    page, text = named or (evaluated.folder / PAGE, evaluated.folder / MARKDOWN)
    refuse_links(page.parent, [page.name, text.name])
    write_page(evaluated, prepared, page, most=most)
    facts = provenance(evaluated.run, evaluated.result, manifest=prepared.manifest, history=evaluated.history())
    write_text(text, markdown(evaluated, chosen_examples(evaluated), facts=facts))
    return page, text


def run_report_of_several(
    places: list[Path], data: Path | None, split: str, *, most: int, out: Path | None
) -> tuple[Path, Path]:
    """Write a page and a Markdown file that compare evaluations of the same windows, and return their paths.

    Raises VsrError if they are not of the same windows, or no file is named.
    """
    if out is None:
        raise VsrError("report: several runs are named, and no page to write; name it with --out FILE.html")
    page, text = _files_of(out)
    from ..files.atomic import write_text
    from ..report.html_comparison import comparison_markdown, comparison_page
    from ..report.html_gallery import side_by_side
    from ..runs.hub import find_run
    from ..runs.results import open_evaluated
    from ..workflows.settings import load_registry
    from .compare import run_compare, short_names

    places = [find_run(place) for place in places]
    result = run_compare(load_registry(), places, split, [], data=data)
    evaluations = [open_evaluated(place, split, data=data) for place in places]
    names = short_names(result["runs"])
    boards = side_by_side(evaluations, _scored_data(evaluations[0], data), most=most)
    refuse_links(page.parent, [page.name, text.name])
    write_text(page, comparison_page(result, names, evaluations, boards))
    write_text(text, comparison_markdown(result, names))
    return page, text


def _files_of(out: Path) -> tuple[Path, Path]:
    """Return the page and the Markdown file that --out names. Raises VsrError if it would overwrite another file."""
    if out.suffix.lower() not in (".html", ".htm"):
        example = out.with_suffix(".html") if out.name else out / "runs.html"
        raise VsrError(f"--out {out}: is not the name of an HTML page; name one such as {example}")
    text = out.with_suffix(".md")
    for path in (out, text):
        if path.is_dir():
            raise VsrError(f"--out {out}: {path} is a folder; name another file")
    ours = out.exists() and OURS in out.read_text(encoding="utf-8", errors="replace")
    if not ours and (other := next((path for path in (out, text) if path.exists()), None)):
        raise VsrError(f"--out {out}: {other} exists and is no report, and nothing is overwritten; name another file")
    return out, text


def _scored_data(evaluated: Evaluated, data: Path | None) -> Prepared:
    from ..data.prepared import open_prepared

    scored = Path(evaluated.result["data"])
    if data is None and not scored.is_dir():
        raise VsrError(f"{scored}: the data that was scored is not here; name its folder with --data DIR")
    return open_prepared(data or scored)
