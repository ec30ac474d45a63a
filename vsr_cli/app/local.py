"""What keeps the app to itself: no request to another host, from the browser or from the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gradio.route_utils import FnIndexInferError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..files.strict_json import from_json, to_json

LARGEST_CALL = 1 << 20
"""Bytes of a call; files are uploaded beforehand."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
OUTSIDE = re.compile(rb"<(?:meta|link)\b[^>]*https?://[^>]*>|<script\b[^>]*\bsrc=\"https?://[^>]*>\s*</script>", re.I)
"""Elements of Gradio's page that name another host: cards for social networks."""


class LocalOnly:
    """Middleware: strips other hosts from the page, forbids the browser to ask them, and refuses calls that name one.

    Gradio would download a file whose path in a call is an address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it is refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "POST" and _header(scope["headers"], b"content-type").startswith(b"application/json"):
            body = await _body(receive)
            problem = "the call is too large" if body is None else _problem(body)
            if problem:
                await _refuse(send, problem)
                return
            try:
                await self.app(scope, _replay(body or b"", receive), _Page(send).send)
            except (KeyError, FnIndexInferError):  # Gradio looks a function up by what was sent
                await _refuse(send, "there is no such endpoint; /gradio_api/info lists them")
            return
        await self.app(scope, receive, _Page(send).send)


class _Page:
    """The response on its way: its HTML without other hosts, and the policy among its headers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._content = b""

    async def send(self, message: Message) -> None:
        """Send a part of the response; HTML waits until it is complete."""
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            headers += [(b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": headers}
            plain = not _header(headers, b"content-encoding")
            if plain and _header(headers, b"content-type").startswith(b"text/html"):
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            self._content += message.get("body", b"")
            if message.get("more_body"):
                return
            content = OUTSIDE.sub(b"", self._content)
            kept = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
            await self._send({**self._start, "headers": [*kept, (b"content-length", str(len(content)).encode())]})
            message, self._start = {"type": "http.response.body", "body": content}, None
        await self._send(message)


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value.lower() for key, value in headers if key.lower() == name), b"")


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request, or None if it is too large."""
    body: bytes = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_CALL:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _problem(body: bytes) -> str | None:
    try:
        call = from_json(body or b"null")
    except ValueError:
        return "the call is not JSON"
    return "a file is named by an address; upload it" if _names_address(call) else None


def _names_address(value: Any) -> bool:
    """Return whether a file anywhere in a call is at an address rather than uploaded."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and re.match(r"\s*[a-z][a-z0-9+.-]*://", path, re.I):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


async def _refuse(send: Send, detail: str) -> None:
    content = to_json({"detail": detail, "error": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": content})
