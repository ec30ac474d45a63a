"""Where the program begins. Light, so that a signal finds it ready before anything that takes time is imported."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from .launch import process_count

ENDED = "what was finished is kept, nothing is left half-written"
MOST_FILES = 65_536
"""Files that this process may open, where the system lets it have so many: a map of a file keeps it open."""
STOPPING = (signal.SIGTERM, signal.SIGHUP)
LOST_READER = 1


class Stopped(SystemExit):
    """A signal has asked the process to end. The exit code is the shell's: 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def main() -> NoReturn:
    """Run the command line, ending with one line and the shell's exit code however it is interrupted."""
    open_closed_descriptors()
    raise_file_limit()
    if sys.stderr is not None:
        sys.stderr = _Unfailing(sys.stderr)
    handled = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    if process_count() == 1:  # else a launcher is to end processes that wait for each other at once
        # What is ignored stays so: nohup, or a shell's background job.
        handled += [number for number in STOPPING if signal.getsignal(number) == signal.SIG_DFL]
    _handle(handled, _end_at_once)  # an exception in the middle of an import may be swallowed there
    from .cli import main as run_command_line

    code: Any = 0
    try:
        _handle(handled, _raise)
        run_command_line()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        _end_at_once(signal.SIGINT, None)
    finally:
        _handle(handled, _end_at_once)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # whoever read it has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or LOST_READER
    sys.exit(code)


def open_closed_descriptors() -> None:
    """Let nothing be opened under the number of a standard stream that is closed, where it would be written over."""
    for descriptor, how in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, how)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def raise_file_limit() -> None:
    """Allow this process as many open files as it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe_end(number: int) -> str:
    """Return the line that tells of a signal that has ended the command."""
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    return f"{how}; {ENDED}"


def _handle(numbers: Iterable[signal.Signals], handler: Any) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    try:
        os.write(2, f"error: {describe_end(number)}\n".encode())
    finally:
        os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(number)


class _Unfailing:
    """A stream to which writing never fails: a log that is full or a terminal that is gone must cost no work."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()
