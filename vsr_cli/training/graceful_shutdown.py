"""Ctrl-C, SIGTERM and SIGHUP while a model trains: the step is finished and stored before the process ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from ..distributed_env import process_count, speaks

SAME_PRESS = 1.0
"""Seconds in which a second SIGINT is still the first: a launcher passes on what the terminal has sent already."""


class Interrupted(SystemExit):
    """Training was stopped by a signal, after all was kept. The exit code is the shell's: 128 and the signal's number.

    130 is for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, such as of a terminal that was closed.
    """

    def __init__(self, number: int, *, epoch: int, step: int) -> None:
        super().__init__(128 + number)
        self.epoch = epoch
        self.step = step


@dataclass
class StopRequest:
    """Whether someone wants training to stop."""

    signal: int = 0
    """The number of the signal that asked for it, 0 if none did."""


@contextmanager
def graceful_shutdown() -> Iterator[StopRequest]:
    """Note a first SIGINT, SIGTERM or SIGHUP instead of ending; a second SIGINT raises KeyboardInterrupt at once.

    A SIGHUP that is ignored, as under nohup, stays so.
    """
    wish = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield wish  # signals are the main thread's alone
        return
    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not wish.signal:
            wish.signal, first = number, time.monotonic()
            if speaks():
                with suppress(OSError):  # the terminal may be what has gone
                    # Neither print nor rich may be called in a handler, which can come in the middle of either.
                    os.write(2, b"\nfinishing this step, then keeping all of it; Ctrl-C again stops at once\n")
        elif number == signal.SIGINT and (process_count() == 1 or time.monotonic() - first > SAME_PRESS):
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
