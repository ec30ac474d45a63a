"""A local server with the protocol of the Hub, whose behavior tests can change."""

import functools
import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

REPO = "someone/stories"


MAIN, OLDER, NEWER = "a" * 40, "b" * 40, "c" * 40


FIRST, SECOND = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"


LAST = "data/test-00000-of-00001.parquet"


def parquet(*ids: str, picture: int = 18_000) -> bytes:
    """Make a file with a row group a story, each of five images of so many bytes."""
    pictures = np.random.default_rng(0)
    text = "\n".join(f"<gdi image{n}><gdo char1>Mara</gdo> waits.</gdi>" for n in range(1, 6))
    rows = [
        {
            "story_id": story,
            "images": [{"bytes": pictures.bytes(picture), "path": None} for _ in range(5)],
            "frame_count": 5,
            "chain_of_thought": "",
            "story": text,
            "texts": ["Mara waits."] * 5,
        }
        for story in ids
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, compression="none", use_dictionary=False, row_group_size=1)
    return file.getvalue()


def repository() -> dict[str, bytes]:
    """Return three large files and two small ones, of which one is of no dataset's kind."""
    tables = {name: parquet(str(number)) for number, name in enumerate((FIRST, SECOND, LAST))}
    return {**tables, "README.md": b"# Stories\n", "run.py": b"not asked for"}


LARGE = (".parquet",)


@functools.cache
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listed_file(name: str, content: bytes, *, large: tuple[str, ...]) -> dict[str, Any]:
    """Return what the Hub lists of a file; files with a suffix in `large` are in its storage of large files."""
    digest, size = sha256(content), len(content)
    plain = {
        "type": "file",
        "path": name,
        "rfilename": name,
        "size": size,
        "oid": digest[:40],
        "blobId": digest[:40],
    }
    lfs = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
    return {**plain, "lfs": lfs} if name.endswith(large) else plain


class Hub(ThreadingHTTPServer):
    """Datasets at their commits; how it behaves can be changed while it runs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.branches = {"main": MAIN, "older": OLDER}
        self.commits = {commit: repository() for commit in (MAIN, OLDER)}
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and Range of each."""
        self.down = self.stalls = False
        """Answers 500 to everything; answers nothing to anything."""
        self.cut_after: dict[str, list[int]] = {}
        """By file, how many bytes it sends before it closes the connection, in turn; then it sends all."""
        self.is_gated = False
        self.free = threading.Event()
        """Set at the end, for those that stall."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self) -> list[str]:
        """The questions about datasets; the hub's library may ask about other things by itself."""
        return [path for _, path, _ in self.requests if path.startswith("/api/datasets/")]

    def contents(self, name: str | None = None) -> list[tuple[str, str | None]]:
        """The requests for a file's bytes, or for all files': the file and the Range."""
        gets = [(path, sent) for method, path, sent in self.requests if method == "GET"]
        found = [(re.fullmatch(rf"/datasets/{REPO}/resolve/\w+/(.*)", path), sent) for path, sent in gets]
        return [(match[1], sent) for match, sent in found if match and name in (None, match[1])]


class Answer(BaseHTTPRequestHandler):
    """What the hub says to one request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        hub, path = self.server, self.path.split("?")[0]
        hub.requests.append((self.command, path, self.headers.get("Range")))
        if hub.stalls:
            hub.free.wait(30)
            self.close_connection = True
        elif hub.down:
            self.say(500, b"{}")
        elif match := re.fullmatch(rf"/api/datasets/{REPO}(?:/revision/([^/]+))?", path):
            self.info(match[1] or "main")
        elif match := re.fullmatch(rf"/api/datasets/{REPO}/tree/(\w+)/?(.*)", path):
            files = hub.commits[match[1]].items()
            within = [file for file in files if file[0].startswith(unquote(match[2]))]
            listed = [listed_file(*file, large=LARGE) for file in within]
            self.say(200, json.dumps(listed).encode())
        elif match := re.fullmatch(rf"/datasets/{REPO}/resolve/(\w+)/(.*)", path):
            if hub.is_gated:
                return self.say(403, b"{}", {"X-Error-Code": "GatedRepo"})
            self.content(match[1], match[2], hub.commits[match[1]][match[2]])
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def info(self, revision: str) -> None:
        commit = self.server.branches.get(revision, revision)
        if commit not in self.server.commits:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [listed_file(name, content, large=LARGE) for name, content in self.server.commits[commit].items()]
        return self.say(200, json.dumps({"id": REPO, "sha": commit, "siblings": siblings}).encode())

    def content(self, commit: str, name: str, whole: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, end = (int(asked[1]), int(asked[2] or len(whole) - 1) + 1) if asked else (0, len(whole))
        body = whole[start:end]
        cuts = self.server.cut_after.get(name) if self.command == "GET" else None
        sent = body[: cuts.pop(0)] if cuts else body
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{sha256(whole)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # unannounced, a client's next request may meet the closing socket
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(whole)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(sent)
        self.close_connection = True

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serving(server: ThreadingHTTPServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve in a block, with the settings that lead to the server, a cache of its own, and less patience."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    impatient = SimpleNamespace(sleep=lambda seconds: None, time=time.time, monotonic=time.monotonic)
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.time", impatient)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_ETAG_TIMEOUT": 1.5,
        "DOWNLOAD_CHUNK_SIZE": 1000,
        "HF_HUB_DOWNLOAD_TIMEOUT": 3,
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", url)
    huggingface_hub.close_session()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        thread.join()


def stall(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hub answer nothing, and its clients wait only an instant for it, at each of their attempts."""
    hub.stalls = True
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", 0.2)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a dataset, and an empty cache."""
    with Hub() as server, serving(server, tmp_path, monkeypatch):
        yield server
        server.free.set()
