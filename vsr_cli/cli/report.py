"""`vsr report`: an evaluation as a page and as Markdown."""

from __future__ import annotations

from pathlib import Path

from ..errors import VsrError
from ..files.links import refuse_links
from ..runs.opening import open_run

PAGE, MARKDOWN = "report.html", "report.md"
MOST = 600
"""Storyboards of a page, unless told otherwise: as many predicted pictures as an evaluation keeps."""


def run_report(place: Path | None, data: Path | None, split: str, *, most: int) -> tuple[Path, Path]:
    """Write report.html and report.md beside an evaluation, and give their paths.

    `place` is a run, what `vsr score` wrote, or one evaluation's folder; None: the newest run. `data` is where the
    stories are now, if not where they were when they were scored.
    """
    from ..data.prepared import open_prepared
    from ..files.atomic import write_text
    from ..report.html import write_page
    from ..report.markdown import chosen_examples, markdown
    from ..report.provenance import provenance
    from ..runs.results import EVALUATIONS, open_evaluated

    evaluated = open_evaluated(open_run(None).folder if place is None else place, split)
    scored = Path(evaluated.result["data"])
    if data is None and not scored.is_dir():
        raise VsrError(f"{scored}: the data that was scored is not there; name it with --data DIR")
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
