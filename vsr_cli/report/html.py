"""One page about an evaluation, in one file that asks for nothing else: scores, losses, storyboards."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..data.prepared import Prepared
from ..escaping import visible_lines
from ..files.atomic import write_text
from ..runs.results import Evaluated
from .html_figures import (
    CURVE_BOTTOM,
    CURVE_HEIGHT,
    CURVE_LEFT,
    CURVE_RIGHT,
    CURVE_WIDTH,
    loss_charts,
    metric_figure,
)
from .html_gallery import gallery
from .provenance import provenance
from .words import LEFT_OUT, described_floors, how_predicted, leaks_found, teacher_forced_numbers

TEMPLATES = "templates"
PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
FRAME = {
    "width": CURVE_WIDTH,
    "height": CURVE_HEIGHT,
    "left": CURVE_LEFT,
    "right": CURVE_WIDTH - CURVE_RIGHT,
    "bottom": CURVE_HEIGHT - CURVE_BOTTOM,
}


def write_page(evaluated: Evaluated, prepared: Prepared, path: Path, *, most: int) -> None:
    """Write the page, with at most `most` storyboards. Raises VsrError if the data is not what was scored."""
    facts = provenance(evaluated.run, evaluated.result, manifest=prepared.manifest, history=evaluated.history())
    write_text(path, render_page(evaluated, gallery(evaluated, prepared, most=most), facts))


def render_page(evaluated: Evaluated, storyboards: Mapping[str, Any], facts: Mapping[str, Mapping[str, str]]) -> str:
    """Make the page's HTML; `facts` are those of `provenance`.

    All that the evaluation brings is escaped, and only the page's own script may run.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Always: a template's name must not decide whether a story's text can write HTML.
    environment = Environment(
        loader=PackageLoader("vsr_cli.report", TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result = evaluated.result
    script = _own(SCRIPT)
    return environment.get_template(PAGE).render(
        name=evaluated.name,
        result=result,
        figures=[metric_figure(name, cell) for name, cell in evaluated.available.items()],
        unavailable={name: cell["unavailable"] for name, cell in result["metrics"].items() if "unavailable" in cell},
        metric_cautions=[cell["caution"] for cell in result["metrics"].values() if cell.get("caution")],
        how=how_predicted(evaluated),
        floors=described_floors(evaluated),
        leaks=leaks_found(result["leaks"]),
        left_out=result["leaks"].get(LEFT_OUT),
        teacher_forced=teacher_forced_numbers(result),
        charts=loss_charts(evaluated.history()),
        frame=FRAME,
        facts=facts,
        storyboards=_shown(storyboards),
        style=_own(STYLE),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """Return a value of the page with the characters of its texts that act rather than show as escapes."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible_lines(value)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value


def _own(name: str) -> str:
    return (files("vsr_cli.report") / TEMPLATES / name).read_text(encoding="utf-8")
