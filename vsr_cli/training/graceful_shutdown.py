"""Ctrl-C, SIGTERM and SIGHUP during training: the step is finished and a checkpoint written before the process ends."""

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
"""Seconds within which a second SIGINT counts as the first: a launcher repeats the one that the terminal has sent."""


class Interrupted(SystemExit):
    """Training was stopped by a signal, after a checkpoint. The exit code is the shell's, 128 plus the signal's number:

    130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP (a closed terminal).
    """

    def __init__(self, number: int, *, epoch: int, step: int) -> None:
        super().__init__(128 + number)
        self.epoch = epoch
        self.step = step


@dataclass
class StopRequest:
    """Whether training was asked to stop."""

    signal: int = 0
    """The number of the signal, 0 if there was none."""


@contextmanager
def graceful_shutdown() -> Iterator[StopRequest]:
    """Record a first SIGINT, SIGTERM or SIGHUP instead of ending; a second SIGINT raises KeyboardInterrupt at once.

    A SIGHUP that is ignored, as under nohup, remains ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # signals are the main thread's alone
        return
    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not request.signal:
            request.signal, first = number, time.monotonic()
            if speaks():
                with suppress(OSError):  # the terminal may be what has gone
                    # Neither print nor rich may be called in a handler, which can come in the middle of either.
                    os.write(2, b"\nfinishing this step, then writing a checkpoint; Ctrl-C again stops at once\n")
        elif number == signal.SIGINT and (process_count() == 1 or time.monotonic() - first > SAME_PRESS):
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield request
    except RuntimeError:
        if process_count() > 1:  # the launcher ends all processes once one is lost, and this one has to report it
            before[signal.SIGTERM] = signal.SIG_IGN
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
