"""Reading what others made without reaching out: a block in which the network cannot be asked for anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import VsrError

_NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}
_sealed = threading.local()
_installed = threading.Lock()


@contextmanager
def no_network(what: str) -> Iterator[None]:
    """Raise VsrError, which begins with `what`, where this thread asks for a host within the block.

    A run needs nothing but itself, but the libraries that build a model fetch whatever its configuration names: base
    models, backbones, kernels. Sockets of this machine's own processes are let through.
    """
    # A hook can never be removed, so there is one, and it looks at whether its thread is within such a block.
    if _installed.acquire(blocking=False):
        sys.addaudithook(_refuse)
    before = getattr(_sealed, "what", None)
    _sealed.what = what
    try:
        yield
    finally:
        _sealed.what = before


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _NETWORK or (what := getattr(_sealed, "what", None)) is None:
        return
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):  # of this machine
            return
        host = address[0]
    else:
        host = arguments[0]
    raise VsrError(f"{what}: asks for something from the network ({host}), and a run needs nothing but itself; refused")
