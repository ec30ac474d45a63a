"""The bytes of a file of the hub as they come, over as many connections as it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from .listing import HubFile

BREATH = 1.0
"""Seconds between a broken connection and the next one, times the connections in a row that brought nothing."""
PATIENCE = 2
"""How many connections in a row may bring nothing before the next such one is the last."""
TRANSIENT = (408, 429)
"""Statuses under 500 that may be other the next time."""


class Cut(Exception):
    """A transfer stopped before its end; the cause says why."""

    def __init__(self, file: HubFile, *, at: int) -> None:
        super().__init__(f"{file.name}: stopped at {at} of {file.size} bytes")
        self.file, self.at = file, at


def pieces(
    file: HubFile, *, start: int, end: int, whole_will_do: bool, stop: threading.Event | None = None
) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` up to `end`, piece by piece.

    A broken connection is taken up again where it broke. Raises Cut once too many in a row have brought nothing: a
    hub that says nothing costs PATIENCE + 1 times HF_HUB_DOWNLOAD_TIMEOUT seconds and a few more. What will not
    change by asking again, such as a file that is not there, raises the hub library's error at once. A hub that
    sends the whole file, whatever part is asked for, is an OSError unless `whole_will_do`. Once `stop` is set, there
    are no more pieces.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # its client's own

    stop = stop or threading.Event()
    at, barren = start, 0
    while at < end and not stop.is_set():
        had, cause = at, None
        try:
            for piece in _connection(file, at, end, whole_will_do):
                at += len(piece)
                yield piece
                if stop.is_set():
                    return
        except HTTPError as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
            if status is not None and status < 500 and status not in TRANSIENT:
                raise
            cause = error
        barren = 0 if at > had else barren + 1
        if barren > PATIENCE:
            raise Cut(file, at=at) from cause
        if at < end:
            stop.wait(BREATH * max(barren, 1))


def _connection(file: HubFile, start: int, end: int, whole_will_do: bool) -> Iterator[bytes]:
    """Yield what one connection brings of [start, end)."""
    from huggingface_hub import constants, get_session, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start or end < file.size:
        headers["Range"] = f"bytes={start}-{end - 1 if end < file.size else ''}"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT  # for each piece to come, not for the whole
    answer = get_session().stream("GET", file.url, headers=headers, timeout=timeout, follow_redirects=True)
    with answer as response:
        hf_raise_for_status(response)
        skip = start if response.status_code != 206 else 0
        if skip and not whole_will_do:
            raise OSError(f"the hub sends {file.name} as a whole and not in parts")
        left = end - start
        for chunk in response.iter_raw():
            skip, piece = max(0, skip - len(chunk)), chunk[skip : skip + left]
            left -= len(piece)
            if piece:
                yield piece
            if not left:
                return  # it sends more than was asked for
