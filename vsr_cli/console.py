"""Terminal output: one console for results on stdout, one for everything else on stderr.

All output passes through this module, also that of libraries and plugins, so that no name, caption or message can send
control sequences to the terminal or imitate a line of vsr (`visible`). Text is printed literally: markup occurs only in
the patterns of `styled`, so a name such as `[/red]` is printed as it is.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from .distributed_env import speaks
from .errors import VsrError
from .escaping import visible, visible_json, visible_lines
from .files.strict_json import to_json, undefined_as_null

PLAIN = str.maketrans("…–—−‘’“”«»×·•→←↑↓✓✗═─│", '~---\'\'""""x.*><^v+x=-|')
"""Replacements of the same width for typographic characters that an encoding lacks."""


def encodable(text: str, encoding: str) -> str:
    """Return a text of the same width, with "?" for characters that an encoding lacks, so that tables stay aligned."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(PLAIN)
        return "".join(c if c.encode(encoding, "ignore") else "?" * cell_len(c) for c in plain)
    return text


class _VisibleConsole(Console):
    """A console that prints control characters as escapes, including line breaks within a text."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, **more: Any) -> None:
        # Jupyter shows a stream by itself; rich would send it HTML, and nothing to the stream.
        more |= {"highlight": False, "markup": False, "emoji": False, "force_jupyter": False}
        super().__init__(stderr=stderr, quiet=quiet, **more)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # A rich Text from elsewhere has not passed through `render_str`.
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(encodable(visible_lines(segment.text), self.encoding), segment.style)


# soft_wrap: a message stays on one line, so that logs can be searched and paths copied.
out = _VisibleConsole()
# In a distributed launch, only the first process of each machine logs.
err = _VisibleConsole(stderr=True, quiet=not speaks())


def styled(pattern: str, *values: object) -> Text:
    """Return a text for a console or a table cell: a pattern with rich markup, where `{}` stands for a literal value.

    `styled("[bold]{}[/bold], a {}", name, kind)`
    """
    return Text.from_markup(pattern.format(*(escape(visible(str(value))) for value in values)), emoji=False)


def plain_text(*renderables: RenderableType, width: int) -> str:
    """Return what a console of a width prints, without colours."""
    file = io.StringIO()
    # With a height too: otherwise rich takes 80 columns where TERM is dumb.
    console = _VisibleConsole(file=file, width=width, height=25, color_system=None)
    for each in renderables:
        console.print(each)
    return file.getvalue()


def say(message: str) -> None:
    """Write a log line to stderr."""
    err.print(message, soft_wrap=True)


def warn(message: str) -> None:
    """Write a warning to stderr."""
    err.print(styled("[yellow]warning:[/yellow] {}", message), soft_wrap=True)


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an error to stderr."""
    err.file.write(visible_lines("".join(traceback.format_exception(error))))


QUIET_DELAY = 10.0
"""Seconds that a quiet process waits before it reports an error itself."""


def fail(*messages: str) -> None:
    """Write the errors that end a command to stderr, one line each.

    If several processes fail alike, the one that is not quiet reports the error and ends, and the launcher then ends
    the others while they wait here. A process that is still running afterwards is the only one with the error.
    """
    if err.quiet:
        time.sleep(QUIET_DELAY)
        err.quiet = False
    for message in messages:
        err.print(styled("[bold red]error:[/bold red] {}", message), soft_wrap=True)


def print_lines(text: str) -> None:
    """Write lines to stdout as they are, neither wrapped nor styled, with control characters as escapes."""
    out.file.write(encodable(visible_lines(text), out.encoding))


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Write one JSON value and a line break to stdout. Numbers that are not finite become null."""
    # JSON readers expect UTF-8, whatever the encoding of the terminal is.
    text = to_json(undefined_as_null(value), indent=indent, ascii_only=not out.encoding.startswith("utf"))
    out.file.write(visible_json(text) + "\n")


@contextmanager
def results_alone_on_stdout() -> Iterator[None]:
    """Reserve stdout for `out` and `print_json` in a block, and redirect all other output to stderr.

    Output of a plugin, a library or its compiled code must not break the JSON or the table that a command writes.
    """
    stdout, stderr = sys.stdout, sys.stderr
    results, descriptor = _moved(stdout)
    other = _VisibleStream(stderr) if stderr is not None else None
    # Without a stream of their own the consoles would follow `sys.stdout` to stderr.
    before = out._file  # None, to follow `sys.stdout`, unless one command runs another in its own process
    out.file, err.file = cast("IO[str]", results), cast("IO[str]", stderr)
    sys.stdout = sys.stderr = cast(Any, other)
    try:
        yield
        if results is not None:
            results.flush()
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        out._file, err.file = before, cast("IO[str]", None)  # to follow `sys` again
        if descriptor is not None:
            os.dup2(descriptor, 1)
            os.close(descriptor)


def _moved(stdout: Any) -> tuple[Any, int | None]:
    """Redirect file descriptor 1 to stderr. Return a stream to the original stdout, and its descriptor.

    If stdout has been replaced within Python, there is no descriptor to redirect, and the stream is returned unchanged.
    """
    if stdout is None:  # the process was started with stdout closed
        return _ClosedStream(), None
    try:
        if stdout.fileno() != 1:
            return stdout, None
        stdout.flush()
        descriptor = os.dup(1)
    except (OSError, ValueError):  # closed, or no file at all
        return stdout, None
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.close(descriptor)
        return stdout, None
    results = open(  # noqa: SIM115 - it lives as long as the command
        descriptor, "w", encoding=stdout.encoding, errors=stdout.errors, buffering=1, closefd=False
    )
    return results, descriptor


class _ClosedStream(io.TextIOBase):
    """Replaces a closed stdout: a command that writes a result there fails, others do not."""

    def write(self, text: str) -> int:
        raise VsrError("stdout is closed, so the result cannot be written; redirect it to a file, or to /dev/null")


class _VisibleStream(io.TextIOBase):
    """Writes to another stream with control characters as escapes, except for line breaks and progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        bar = "\r" if text.startswith("\r") else ""  # how tqdm begins
        self._stream.write(bar + visible_lines(text[len(bar) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors
