"""Downloads and streams from a local server that speaks the Hub's protocol, also badly or not at all."""

import functools
import hashlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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

from vsr_cli.api import Dataset, Story, VsrError
from vsr_plugins.datasets import HubOptions, StoryReasoningOptions
from vsr_plugins.datasets.hf import build as build_hf
from vsr_plugins.datasets.story_reasoning.reader import build as build_story_reasoning

REPO = "someone/stories"
MAIN, OLDER, NEWER = "a" * 40, "b" * 40, "c" * 40
FIRST, SECOND = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"
LAST = "data/test-00000-of-00001.parquet"
STORIES = [("0", "train"), ("1", "train"), ("2", "test")]


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


@functools.cache
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
            listed = [self.of(name, content) for name, content in files if name.startswith(unquote(match[2]))]
            self.say(200, json.dumps(listed).encode())
        elif match := re.fullmatch(rf"/datasets/{REPO}/resolve/(\w+)/(.*)", path):
            if hub.is_gated:
                return self.say(403, b"{}", {"X-Error-Code": "GatedRepo"})
            self.content(match[1], match[2], hub.commits[match[1]][match[2]])
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def of(self, name: str, content: bytes) -> dict[str, Any]:
        digest, size = sha256(content), len(content)
        large = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
        plain = {
            "type": "file",
            "path": name,
            "rfilename": name,
            "size": size,
            "oid": digest[:40],
            "blobId": digest[:40],
        }
        return {**plain, "lfs": large} if name.endswith(".parquet") else plain

    def info(self, revision: str) -> None:
        commit = self.server.branches.get(revision, revision)
        if commit not in self.server.commits:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [self.of(name, content) for name, content in self.server.commits[commit].items()]
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, the settings that lead to it, an empty cache, and less patience."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    impatient = SimpleNamespace(sleep=lambda seconds: None, time=time.time, monotonic=time.monotonic)
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.time", impatient)
    with Hub() as server:
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path),
            "HF_HUB_ETAG_TIMEOUT": 1.5,
            "DOWNLOAD_CHUNK_SIZE": 1000,
            "HF_HUB_DOWNLOAD_TIMEOUT": 3,
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", server.url)
        huggingface_hub.close_session()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.free.set()
        huggingface_hub.close_session()
        server.shutdown()
        thread.join()


def story_reasoning(**options: object) -> Dataset:
    return build_story_reasoning(StoryReasoningOptions.model_validate(options))


def hf(**options: object) -> Dataset:
    return build_hf(HubOptions.model_validate({"story": "story_id", **options}))


def read(dataset: Dataset, source: str = REPO, limit: int | None = None) -> list[tuple[str, str | None]]:
    stories = itertools.islice(dataset.read(source), limit)
    return [(story.id, story.split) for story in stories if isinstance(story, Story)]


def problem(dataset: Dataset, source: str = REPO) -> str:
    with pytest.raises(VsrError) as caught:
        read(dataset, source)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(source)
    return str(caught.value)


def whole(hub: Hub, cache: Path, commit: str = MAIN) -> bool:
    """Whether the cache's folder of a commit holds all of its tables."""
    folder = cache / "datasets--someone--stories" / "snapshots" / commit
    held = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
    return held == {name: content for name, content in hub.commits[commit].items() if name.endswith(".parquet")}


# Fetching, in both plugins.

BOTH = pytest.mark.parametrize("make", [story_reasoning, hf])


@BOTH
def test_a_download_yields_the_stories_and_is_then_read_without_the_hub(hub: Hub, tmp_path: Path, make: Any) -> None:
    dataset = make()
    before = dataset.describe(REPO)
    assert before["revision"] == "main"
    assert read(dataset) == STORIES
    assert dataset.describe(REPO)["revision"] == MAIN
    if make is story_reasoning:
        assert before == {**dataset.describe(REPO), "revision": "main", "download": "an unknown amount"}
    # Each file once, and only files that were asked for.
    wanted = [FIRST, SECOND, LAST] + (["README.md"] if make is hf else [])
    assert sorted(hub.contents()) == [(name, None) for name in sorted(wanted)]
    hub.requests.clear()
    assert read(make()) == STORIES
    assert hub.contents() == []
    hub.down = True
    assert read(make()) == STORIES
    assert whole(hub, tmp_path)


@BOTH
@pytest.mark.parametrize("revision", ["older", OLDER])
def test_a_revision_is_pinned_and_its_commit_recorded(hub: Hub, tmp_path: Path, make: Any, revision: str) -> None:
    dataset = make(revision=revision)
    assert read(dataset) == STORIES
    assert dataset.describe(REPO)["revision"] == OLDER
    assert whole(hub, tmp_path, OLDER)


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_what_the_hub_refuses_is_one_line(hub: Hub, make: Any, streaming: bool) -> None:
    assert "no such dataset" in problem(make(streaming=streaming), "someone/else")
    assert "no such revision" in problem(make(streaming=streaming, revision="future"))
    assert hub.contents() == []
    hub.is_gated = True
    assert "requires a login" in problem(make(streaming=streaming))


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_that_is_down_or_does_not_answer_is_one_line(
    hub: Hub, make: Any, streaming: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.down = True
    line = problem(make(streaming=streaming))
    assert ("streaming needs" if streaming else "not in the cache") in line
    assert "500" in line
    assert "http" not in line
    hub.down, hub.stalls = False, True
    line = problem(make(streaming=streaming))
    assert "cannot be reached (" in line
    assert "timed out" in line
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in problem(make(streaming=streaming))
    assert capfd.readouterr().err == ""


def test_a_broken_connection_is_resumed_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {FIRST: [10_000]}
    assert read(story_reasoning()) == STORIES
    assert [sent for _, sent in hub.contents(FIRST)] == [None, "bytes=10000-"]
    assert whole(hub, tmp_path)


@BOTH
def test_after_an_interruption_only_the_missing_files_are_downloaded(hub: Hub, tmp_path: Path, make: Any) -> None:
    hub.cut_after = {LAST: [10_000, *[0] * 6]}
    line = problem(make(revision=OLDER))
    assert "downloading it failed (" in line
    assert "skips complete files" in line
    # Two of three files are there, and the cache's folder of this commit does not count as complete.
    hub.down, before = True, len(hub.contents())
    assert "not in the cache" in problem(make(revision=OLDER))
    hub.down, hub.cut_after = False, {}
    read(make(revision=OLDER))
    assert whole(hub, tmp_path, OLDER)
    assert {name for name, _ in hub.contents()[before:]} == {LAST}


def test_a_file_whose_name_leads_out_of_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.commits[MAIN]["../../../evil.csv"] = b"a,b\n"
    assert "failed (" in problem(hf())
    assert not [*tmp_path.parent.glob("evil.csv")]


# Streaming.


@BOTH
def test_a_stream_yields_the_same_stories_and_stores_nothing(hub: Hub, tmp_path: Path, make: Any) -> None:
    dataset = make(streaming=True, revision="older")
    assert dataset.describe(REPO)["revision"] == "older"
    assert "an unknown amount" in dataset.describe(REPO)["stream"]
    streamed = list(dataset.read(REPO))
    assert (dataset.describe(REPO)["revision"], "stream" in dataset.describe(REPO)) == (OLDER, False)
    assert list(tmp_path.rglob("*.parquet")) == []
    assert streamed == list(make(revision=OLDER).read(REPO))
    assert len(streamed) == 3


@BOTH
def test_a_short_stream_reads_the_first_file_alone(hub: Hub, make: Any) -> None:
    names = [str(number) for number in range(8)]
    hub.commits[MAIN] = {FIRST: parquet(*names, picture=1_000_000), SECOND: parquet("8"), LAST: parquet("9")}
    assert read(make(streaming=True), limit=1) == [("0", "train")]
    assert {name for name, _ in hub.contents()} == {FIRST}
    spans = [re.fullmatch(r"bytes=(\d+)-(\d+)", sent or "") for _, sent in hub.contents()]
    asked = sum(int(match[2]) - int(match[1]) + 1 for match in spans if match)
    assert len(spans) == len(list(filter(None, spans)))
    assert asked < len(hub.commits[MAIN][FIRST]) / 2


@BOTH
def test_a_branch_that_moves_does_not_mix_two_states(hub: Hub, make: Any) -> None:
    dataset = make(streaming=True)
    state = dataset.survey(REPO).state
    hub.branches["main"] = NEWER
    hub.commits[NEWER] = {name: parquet("new") for name in (FIRST, SECOND, LAST)}
    assert [story for story, _ in read(dataset)] == ["0", "1", "2"]
    assert state == dataset.describe(REPO)["revision"] == MAIN
    assert {path.split("/")[5] for _, path, _ in hub.requests if "/resolve/" in path} == {MAIN}
    assert make(streaming=True).survey(REPO).state == NEWER


@BOTH
@pytest.mark.parametrize("trouble", ["down", "stalls"])
def test_a_stream_that_stops_is_one_line(hub: Hub, make: Any, trouble: str, capfd: pytest.CaptureFixture[str]) -> None:
    stories = make(streaming=True).read(REPO)
    assert next(stories).id == "0"
    setattr(hub, trouble, True)
    with pytest.raises(VsrError) as caught:
        list(stories)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(REPO)
    assert {"down": "500", "stalls": "timed out"}[trouble] in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_stream_of_text_and_named_images(hub: Hub) -> None:
    lines = [json.dumps({"story": "a", "image": f"p/{n}.jpg", "text": f"A{n}"}) for n in range(2)]
    lines.append(json.dumps({"story": "a", "image": "../secret.jpg", "text": "C"}))
    images = {f"p/{n}.jpg": b"image %d" % n for n in range(3)}
    hub.commits[MAIN] = {"train.jsonl": "\n".join(lines).encode(), **images}
    options = {"streaming": True, "layout": "frames", "images": "image", "texts": "text", "story": "story"}
    (story,) = hf(**options).read(REPO)
    assert [frame.image for frame in story.frames] == [b"image 0", b"image 1", None]
    assert [note.code for note in story.notes] == ["outside_folder"]
    assert "p/2.jpg" not in {name for name, _ in hub.contents()}


# What is known without reading.


@BOTH
def test_the_state_is_the_commit_that_will_be_read(hub: Hub, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    counted = 3 if make is story_reasoning else None
    dataset = make()
    survey = dataset.survey(REPO)
    assert (survey.state, survey.stories, hub.contents()) == (MAIN, None, [])
    assert read(dataset) == STORIES
    assert (dataset.survey(REPO).stories, make().survey(REPO).stories) == (counted, counted)
    # A branch that moves is another state; for a commit, or offline, the Hub is not asked.
    hub.branches["main"], hub.commits[NEWER] = NEWER, repository()
    assert (make().survey(REPO).state, make().survey(REPO).stories) == (NEWER, None)
    hub.requests.clear()
    assert (make(revision=MAIN).survey(REPO).state, make(revision=MAIN).survey(REPO).stories) == (MAIN, counted)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert (make().survey(REPO).state, make().survey(REPO).stories) == (MAIN, counted)
    assert hub.requests == []


# In a process of its own, as the command has it: the library reads its settings, streams and ends.

STREAM = """
import itertools, sys
from vsr_plugins.datasets import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build
def ids():
    stories = build(StoryReasoningOptions(streaming=True)).read(sys.argv[1])
    return [story.id for story in itertools.islice(stories, 2)]
print(ids())
"""


@pytest.mark.slow
def test_a_program_that_leaves_a_stream_in_the_middle_ends_well(hub: Hub, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    settings = {
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "plugins")]),
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", STREAM, REPO],
        env={key: value for key, value in os.environ.items() if not key.startswith("HF_")} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "['0', '1']")
