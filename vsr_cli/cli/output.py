"""Writing a result in the format that --format or --json names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..console import out as console
from ..console import print_json, print_lines, warn
from ..errors import VsrError

if TYPE_CHECKING:
    from ..config.choices import TableFormat
    from ..report.sheets import Sheet


def chosen_format(form: TableFormat | None, *, as_json: bool) -> TableFormat:
    """Return the format that was typed, a table if none was. Raises VsrError if --json contradicts --format."""
    if as_json and form not in (None, "json"):
        raise VsrError(f"--json and --format {form}: contradict each other; leave one out")
    return "json" if as_json else form or "table"


def write_result(form: TableFormat, result: Any, *, table: Callable[[], None], sheet: Callable[[], Sheet]) -> None:
    """Write a result to stdout: as JSON, by `table` for a terminal, or `sheet` in any other format.

    What the notes of Markdown and LaTeX say of a result's cautions is a warning beside CSV.
    """
    if form == "json":
        print_json(result)
    elif form == "table":
        table()
    else:
        from ..report.sheet_formats import render

        made = sheet()
        print_lines(render(made, form, encoding=console.encoding))
        for caution in made.cautions if form == "csv" else ():
            warn(caution)
