"""Progress bars on stderr, in a module of their own: usage errors need none, and rich takes time to import them."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from .console import err
from .escaping import visible


class _Description(ProgressColumn):
    """What a bar is about; a column of rich's own would read markup in it."""

    def render(self, task: Task) -> Text:
        return Text(visible(task.description))


def download_progress() -> Progress:
    """Make a progress bar of bytes that come, with their rate and the time left, on stderr. It leaves no trace."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def progress(*further: ProgressColumn) -> Progress:
    """Make a progress bar with its count, the time left and what else is asked for, on stderr.

    It leaves no trace when it is done.
    """
    return Progress(
        _Description(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *further,
        console=err,
        transient=True,
        disable=not err.is_terminal,  # a log needs no bar, nor the empty line that it would leave
    )
