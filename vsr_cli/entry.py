"""The entry point, which handles signals before any slow import.

Only modules that Python itself has loaded are imported here, and the C module under `signal`, which would import `enum`
and `re`: some 50 ms on a busy machine, in which Ctrl-C was a traceback. A signal before this module is the
interpreter's own: while it starts, `site` runs and the script `vsr` is read, Python ends as any Python program does.
"""

from __future__ import annotations

import os
import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)
from _thread import start_new_thread
from time import sleep

TYPE_CHECKING = False  # typing's own takes time to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any, NoReturn

ENDED = "finished work is saved, and no file is left incomplete"
MOST_FILES = 65_536
"""Maximum number of open files of this process, if the system allows it; each memory map is an open file."""
STOPPING = {SIGTERM: "SIGTERM", SIGHUP: "SIGHUP"}
LOST_READER = 1
EXIT_CODES = 256
COLLECTED_TOGETHER = 50_000
"""Allocations after which Python looks for garbage. Its default of 700 is an eighth of the time to import torch."""


class Stopped(SystemExit):
    """A signal ends the process. The exit code is that of a shell: 128 plus the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def run() -> NoReturn:
    """Run the command line as a program of its own, which ends without freeing one object after the other.

    After torch and transformers, that would take a second. Threads and what modules do at the end are waited for.
    """
    import gc

    gc.set_threshold(COLLECTED_TOGETHER)
    try:
        main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code
        if not (isinstance(code, int) and 0 <= code < EXIT_CODES):
            raise
    import atexit
    import io
    import threading
    from contextlib import suppress

    # What Python does at the end, in its order.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)  # texts first, which are written to the others
    known = gc.get_objects()
    for file in (each for kind in kinds for each in known if type(each) is kind):  # stdout, and what a plugin left open
        with suppress(OSError, ValueError):  # the reader of a pipe has ended, which `main` reports, or it is closed
            file.flush()
    os._exit(code)


def main() -> NoReturn:
    """Run the command line. If it is interrupted, print one line and exit with the code of a shell."""
    # Ignored signals stay ignored, as by nohup or in a background job.
    handled = [SIGINT] if getsignal(SIGINT) is default_int_handler else []
    _handle(handled, _end_at_once)  # an exception in the middle of an import may be swallowed there
    from .distributed_env import process_count

    if process_count() == 1:  # otherwise a launcher must end processes that wait for each other
        handled += [number for number in STOPPING if getsignal(number) == SIG_DFL]
        _handle(handled, _end_at_once)
    open_closed_descriptors()
    raise_file_limit()
    if sys.stderr is not None:
        sys.stderr = _Unfailing(sys.stderr)
    from .cli.main import main as run_command_line

    code: Any = 0
    try:
        sys.unraisablehook = _lose_no_signal
        _handle(handled, _raise)
        run_command_line()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        _end_at_once(SIGINT, None)
    finally:
        _handle(handled, _end_at_once)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except ValueError:  # a plugin has closed it
        code = code or LOST_READER
    except OSError:  # the reader of the pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or LOST_READER
    sys.exit(code)


def open_closed_descriptors() -> None:
    """Open /dev/null for closed standard streams, whose numbers other files would get otherwise."""
    for descriptor, how in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, how)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def raise_file_limit() -> None:
    """Raise the limit of open files of this process as far as it may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe_end(number: int) -> str:
    """Return the message for a signal that has ended the command."""
    how = "interrupted" if number == SIGINT else f"stopped by {STOPPING[number]}"
    return f"{how}; {ENDED}"


def _handle(numbers: Iterable[int], handler: Any) -> None:
    for number in numbers:
        signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    try:
        os.write(2, f"error: {describe_end(number)}\n".encode())
    finally:
        os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    if number == SIGINT:
        raise KeyboardInterrupt
    raise Stopped(number)


def _lose_no_signal(unraisable: Any) -> None:
    """Send a signal again that arrived where Python ignores exceptions, such as `__del__`; report other exceptions."""
    error = unraisable.exc_value
    if isinstance(error, KeyboardInterrupt | Stopped):
        number = SIGINT if isinstance(error, KeyboardInterrupt) else error.number
        start_new_thread(_send_soon, (number,))  # after the code that ignores exceptions has ended
    else:
        sys.__unraisablehook__(unraisable)


def _send_soon(number: int) -> None:
    sleep(0.01)
    os.kill(os.getpid(), number)


class _Unfailing:
    """A stream to which writing never fails, so that a full disk or a closed terminal ends no training."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:  # noqa: SIM105 - contextlib takes time to import
            self._stream.write(text)
        except OSError:
            pass
        return len(text)

    def flush(self) -> None:
        try:  # noqa: SIM105
            self._stream.flush()
        except OSError:
            pass
