"""A block in which this thread cannot use the network, for loading a run that may name remote models."""

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
    """Raise VsrError, which begins with `what`, if this thread accesses a host within the block.

    A run is self-contained, but the libraries that build a model fetch whatever its configuration names: base models,
    backbones, kernels. Unix sockets of this machine are allowed.
    """
    # An audit hook cannot be removed, so there is one, and it checks whether its thread is within such a block.
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
        if not isinstance(address, tuple):  # a Unix socket
            return
        host = address[0]
    else:
        host = arguments[0]
    raise VsrError(f"{what}: tries to access the network ({host}), which a self-contained run does not need; refused")
