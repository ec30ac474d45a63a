"""Waiting for processes that are at work for hours, and not for those that are gone.

While the others wait for it, a process may download or compute for longer than a message between processes may take.
So each process counts up a number of its own in the store through which the processes found each other, and who waits
watches the numbers of those that have yet to come.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

PAUSE = 5.0
"""Seconds between two signs."""
PROMPT = 0.01
"""Seconds between two looks at first when a process waits; they double up to `PAUSE`."""


class OthersLost(Exception):
    """Another process of this training has ended or cannot be reached."""


class SignsOfLife:
    """What one of several processes tells the others, and what it knows of them."""

    def __init__(
        self, store: Store, *, index: int, count: int, limit: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch `count` processes, of which this one is number `index`; `limit` is in seconds."""
        self._store, self._index, self._limit, self._clock = store, index, limit, clock
        self._others = [other for other in range(count) if other != index]
        self._meetings = self._told = 0
        self._came = dict.fromkeys(self._others, 0)
        self._signs = dict.fromkeys(self._others, -1)
        self._heard = dict.fromkeys(self._others, clock())
        self._looked = clock()

    def look(self) -> None:
        """Return a sign and read those of the others. Raises RuntimeError if the store cannot be reached."""
        self._add("sign", self._index, 1)
        meetings = self._meetings
        self._add("came", self._index, meetings - self._told)
        self._told = meetings
        for other in self._others:
            self._came[other] = self._add("came", other, 0)
            if (sign := self._add("sign", other, 0)) != self._signs[other]:
                self._signs[other], self._heard[other] = sign, self._clock()
        self._looked = self._clock()

    def come(self) -> None:
        """Come to the next meeting; the next look tells the others."""
        self._meetings += 1

    def is_complete(self) -> bool:
        """Whether all have come to the meeting. Raises OthersLost if one that has not has been silent for too long."""
        now, minutes = self._clock(), f"{self._limit / 60:g} minutes"
        if now - self._looked > self._limit:
            raise OthersLost(f"the first process has not answered for {minutes}")
        missing = [other for other in self._others if self._came[other] < self._meetings]
        for other in missing:
            if now - self._heard[other] > self._limit:
                raise OthersLost(f"process {other} has given no sign for {minutes}")
        return not missing and self._told == self._meetings

    def _add(self, what: str, process: int, number: int) -> int:
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return int(self._store.add(f"vsr/{attempt}/{what}/{process}", number))


class _Watch:
    """The thread that looks, so that neither work nor a store that does not answer keeps the process from the rest."""

    def __init__(self, signs: SignsOfLife) -> None:
        self._signs = signs
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="signs of life", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until all processes have come here. Raises OthersLost."""
        self._signs.come()
        pause = PROMPT
        while not self._signs.is_complete():
            self._wake.set()
            time.sleep(pause)
            pause = min(2 * pause, PAUSE)

    def end(self) -> None:
        """End the thread, if the store lets it."""
        self._ended.set()
        self._wake.set()
        self._thread.join(timeout=PAUSE)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._signs.look()
            except RuntimeError:
                return  # whoever waits learns of it by the time of the last look
            self._wake.wait(PAUSE)
            self._wake.clear()


_watch: _Watch | None = None


@contextmanager
def watching_each_other(*, index: int, count: int, minutes: float) -> Iterator[None]:
    """Give signs of life in the block, where several processes train, so that `wait_for_others` may wait for hours."""
    global _watch
    if count == 1 or not shares_store():
        yield
        return
    _watch = _Watch(SignsOfLife(open_store(), index=index, count=count, limit=60 * minutes))
    try:
        yield
    finally:
        _watch.end()
        _watch = None


def wait_for_others() -> None:
    """Wait until all processes have come here, as long as those that have not give signs of life. Raises OthersLost."""
    if _watch is not None:
        _watch.wait()


def shares_store() -> bool:
    """Whether the environment says where the store is through which processes find each other."""
    return {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def open_store(seconds: float = 60.0) -> Store:
    """Return a connection to the store through which the processes found each other.

    Raises RuntimeError if it cannot be reached, KeyError or ValueError if the environment does not say where it is.
    """
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
    )
