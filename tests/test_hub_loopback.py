"""Loading from a hub over HTTP: a small server of this machine speaks its protocol, well, badly and not at all."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

# A fresh process a try, two or three tries a test.
pytestmark = pytest.mark.slow

REPO = "someone/stories"
COMMITS = {"main": "a" * 40, "older": "b" * 40}


def parquet(story_id: str) -> bytes:
    pixels = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(pixels, "PNG")
    stills = [{"bytes": pixels.getvalue(), "path": None}] * 5
    text = "\n".join(f"<gdi image{n}><gdo char1>Mara</gdo> waits.</gdi>" for n in range(1, 6))
    row = {"story_id": story_id, "images": stills, "frame_count": 5, "chain_of_thought": "", "story": text}
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), file, compression="none", use_dictionary=False)
    return file.getvalue()


class Hub(ThreadingHTTPServer):
    """A dataset of three large files and a small one; how it behaves can be changed while it runs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        names = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000.parquet")
        self.files = {name: parquet(str(number)) for number, name in enumerate(names)}
        self.blobs = {hashlib.sha256(content).hexdigest(): content for content in self.files.values()}
        self.files["README.md"] = b"not asked for"
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and Range of each."""
        self.down = self.stalls = False
        """Answers 500 to everything; answers nothing to anything."""
        self.cut_after: dict[str, list[int]] = {}
        """By file, how many bytes it sends before it drops the line, in turn; then it sends all."""
        self.holds_the_line = False
        """It then stays silent instead of dropping the line."""
        self.ignores_ranges = self.damages = False
        self.free = threading.Event()
        """Set at the end, for those that stall."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self) -> list[str]:
        """The questions about datasets; the hub's library may ask about other things by itself."""
        return [path for _, path, _ in self.requests if path.startswith("/api/datasets/")]

    def contents(self) -> list[tuple[str, str | None]]:
        """The requests for a file's bytes: the file and the Range."""
        found = [(re.fullmatch(r"/cdn/(.*)", path), sent) for method, path, sent in self.requests if method == "GET"]
        names = {hashlib.sha256(content).hexdigest(): name for name, content in self.files.items()}
        return [(names[match[1]], sent) for match, sent in found if match]


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
        elif match := re.fullmatch(rf"/datasets/{REPO}/resolve/(\w+)/(.*)", path):
            digest = hashlib.sha256(hub.files[match[2]]).hexdigest()
            self.say(302, b"", {"Location": f"/cdn/{digest}", "X-Repo-Commit": match[1], "X-Linked-Etag": digest})
        elif match := re.fullmatch(r"/cdn/(\w+)", path):
            self.content(match[1])
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def of(self, name: str) -> dict[str, Any]:
        content = self.server.files[name]
        digest = hashlib.sha256(content).hexdigest()
        large = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
        plain = {"path": name, "rfilename": name, "size": len(content), "oid": digest[:40], "blobId": digest[:40]}
        return {**plain, "lfs": large} if name.endswith(".parquet") else plain

    def info(self, revision: str) -> None:
        commit = COMMITS.get(revision, revision)
        if commit not in COMMITS.values():
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [self.of(name) for name in self.server.files]
        return self.say(200, json.dumps({"id": REPO, "sha": commit, "siblings": siblings}).encode())

    def content(self, digest: str) -> None:
        hub, whole = self.server, self.server.blobs[digest]
        name = next(name for name, content in hub.files.items() if content == whole)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and not hub.ignores_ranges else 0
        body = bytes(len(whole)) if hub.damages else whole
        cuts = hub.cut_after.get(name, [])
        sent = body[start:][: cuts.pop(0)] if cuts else body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(whole) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        self.wfile.write(sent)
        if hub.holds_the_line and len(sent) < len(whole) - start:
            hub.free.wait(30)
        self.close_connection = True

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.free.set()
        server.shutdown()
        thread.join()


READ = """
import json, sys
from vsr_cli.api import VsrError
from vsr_plugins.story_reasoning import StoryReasoningOptions
from vsr_plugins.story_reasoning.reader import build
source, revision, mode = sys.argv[1:]
dataset = build(StoryReasoningOptions(revision=revision or None))
before = dict(dataset.describe(source))
try:
    stories = dataset.read(source)
    ids = [(story.id, story.split) for story in stories] if mode == "read" else []
    print(json.dumps({"before": before, "stories": ids, "after": dict(dataset.describe(source))}))
except VsrError as error:
    print(error)
"""


def load(hub: Hub, home: Path, source: str = REPO, revision: str = "", mode: str = "fetch") -> str:
    """Fetch a hub dataset in a fresh process, for the hub's library reads its settings when it is imported.

    Gives what it prints. The stories are read only where `mode` is "read", which takes seconds more.
    """
    root = Path(__file__).parents[1]
    settings = {
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "plugins")]),
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, source, revision, mode],
        env={key: value for key, value in os.environ.items() if not key.startswith("HF_")} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1), done.stderr
    return done.stdout.strip()


STORIES = [["0", "train"], ["1", "train"], ["2", "test"]]
FIRST = "data/train-00000-of-00002.parquet"
LAST = "data/test-00000.parquet"


def whole(hub: Hub, home: Path, said: str) -> bool:
    """Whether the cache's folder of the commit that was recorded holds all that the hub has."""
    commit = json.loads(said)["after"]["revision"]
    folder = home / "hub" / "datasets--someone--stories" / "snapshots" / commit
    held = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
    return held == {name: content for name, content in hub.files.items() if name.endswith(".parquet")}


def test_a_fresh_fetch_gives_the_stories_and_then_needs_no_hub(hub: Hub, tmp_path: Path) -> None:
    said = json.loads(load(hub, tmp_path, mode="read"))
    assert said["stories"] == STORIES
    assert said["before"] | {"download": "", "revision": ""} == said["after"] | {"download": "", "revision": ""}
    assert "download" in said["before"]
    assert "download" not in said["after"]
    assert (said["before"]["revision"], said["after"]["revision"]) == ("main", COMMITS["main"])
    # Each file once, and no other file than was asked for.
    assert sorted(hub.contents()) == [(name, None) for name in sorted(hub.files) if name != "README.md"]
    hub.requests.clear()
    assert json.loads(load(hub, tmp_path))["before"]["revision"] == COMMITS["main"]
    assert hub.contents() == []
    hub.down = True
    assert json.loads(load(hub, tmp_path))["after"]["revision"] == COMMITS["main"]


@pytest.mark.parametrize("revision", ["older", "b" * 40])
def test_a_revision_is_pinned_and_its_commit_recorded(hub: Hub, tmp_path: Path, revision: str) -> None:
    said = load(hub, tmp_path, revision=revision)
    assert json.loads(said)["after"]["revision"] == "b" * 40
    assert whole(hub, tmp_path, said)


def test_no_such_dataset_and_no_such_revision(hub: Hub, tmp_path: Path) -> None:
    assert "no such dataset" in load(hub, tmp_path, source="someone/else")
    assert "no such revision" in load(hub, tmp_path, revision="future")
    assert hub.contents() == []


def test_a_hub_that_is_down(hub: Hub, tmp_path: Path) -> None:
    hub.down = True
    line = load(hub, tmp_path)
    assert line.startswith(f"{REPO}: not in the local cache")
    assert "500" in line
    assert len(hub.asked()) == 1


def test_a_hub_that_does_not_answer(hub: Hub, tmp_path: Path) -> None:
    hub.stalls = True
    line = load(hub, tmp_path)
    assert "cannot be reached (" in line
    assert "timed out" in line
    assert len(hub.asked()) == 1


def test_a_hub_that_stops_in_the_middle_of_a_file(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.holds_the_line = {FIRST: [10_000, 0]}, True
    line = load(hub, tmp_path)
    assert f"fetching {FIRST} stopped at 0.0 of 0.1 MB (" in line
    assert "timed out" in line
    # What came was kept: it was asked for the rest at once, and again by the next try.
    hub.holds_the_line = False
    assert whole(hub, tmp_path, load(hub, tmp_path))
    assert [sent for name, sent in hub.contents() if name == FIRST] == [None, "bytes=10000-", "bytes=10000-"]


def test_a_line_that_is_cut_once_is_taken_up_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {FIRST: [10_000]}
    assert whole(hub, tmp_path, load(hub, tmp_path))
    assert [sent for name, sent in hub.contents() if name == FIRST] == [None, "bytes=10000-"]


def test_after_a_lasting_cut_the_next_try_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {LAST: [10_000, 0]}
    pinned = {"revision": "b" * 40}
    line = load(hub, tmp_path, **pinned)
    assert f"fetching {LAST} stopped at 0.0 of 0.1 MB (" in line
    assert "goes on from there" in line
    # Two of three files are there, and the cache's folder of this commit is not taken for the whole.
    hub.down, before = True, len(hub.contents())
    assert "not in the local cache" in load(hub, tmp_path, **pinned)
    hub.down = False
    assert whole(hub, tmp_path, load(hub, tmp_path, **pinned))
    assert hub.contents()[before:] == [(LAST, "bytes=10000-")]


def test_a_hub_that_sends_the_whole_when_asked_for_the_rest(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.ignores_ranges = {FIRST: [10_000]}, True
    assert whole(hub, tmp_path, load(hub, tmp_path))


def test_a_file_that_comes_damaged_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.damages = True
    assert "came damaged" in load(hub, tmp_path)
    hub.damages = False
    assert whole(hub, tmp_path, load(hub, tmp_path))
