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
    """The description of a bar as plain text; a column of rich's own would read markup in it."""

    def render(self, task: Task) -> Text:
        return Text(visible(task.description))


class Rate(ProgressColumn):
    """How many of something are done per second, such as "12.3 images/s"; empty until that is known."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        """Return the rate of the last half minute, or of all when the task is finished."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.{0 if speed >= 99.5 else 1}f} {self._what}/s")


def download_progress() -> Progress:
    """Return a progress bar of a download or upload on stderr, with its rate and the time left. It is erased then."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def progress(*further: ProgressColumn) -> Progress:
    """Return a progress bar on stderr, with its count, the time left and `further` columns.

    It is erased at the end.
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
