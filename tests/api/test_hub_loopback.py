"""Reading from a hub over HTTP: a small server of this machine speaks its protocol, well, badly and not at all."""

import copy
import hashlib
import io
import itertools
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

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vsr_cli.api import Dataset, Story, VsrError
from vsr_plugins.datasets.hub import HubOptions
from vsr_plugins.datasets.hub.reader import build as build_hf
from vsr_plugins.datasets.story_reasoning import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build as build_story_reasoning

REPO = "someone/stories"
MAIN, OLDER, NEWER = "a" * 40, "b" * 40, "c" * 40
FIRST, SECOND = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"
LAST = "data/test-00000-of-00001.parquet"
STORIES = [("0", "train"), ("1", "train"), ("2", "test")]


def parquet(*ids: str, picture: int = 18_000) -> bytes:
    """Make a file with a row group a story, each of five pictures of so many bytes."""
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
        self.statuses: dict[str, list[int]] = {}
        """By file, the errors that it gives for its bytes, in turn; then it sends them."""
        self.cut_after: dict[str, list[int]] = {}
        """By file, how many bytes it sends before it drops the line, in turn; then it sends all."""
        self.holds_the_line = False
        """It then stays silent instead of dropping the line."""
        self.ignores_ranges = self.is_gated = False
        self.damages: str | None = None
        """A file, of which it sends zeros."""
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
        found = [(re.fullmatch(r"/cdn/\w+/(.*)", path), sent) for _, path, sent in self.requests]
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
        elif match := re.fullmatch(rf"/datasets/{REPO}/resolve/(\w+)/(.*)", path):
            if hub.is_gated:
                return self.say(403, b"{}", {"X-Error-Code": "GatedRepo"})
            self.say(302, b"", {"Location": f"/cdn/{match[1]}/{match[2]}", "X-Repo-Commit": match[1]})
        elif match := re.fullmatch(r"/cdn/(\w+)/(.*)", path):
            self.content(match[2], hub.commits[match[1]][match[2]])
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def of(self, name: str, content: bytes) -> dict[str, Any]:
        digest, size = hashlib.sha256(content).hexdigest(), len(content)
        large = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
        git = hashlib.sha1(b"blob %d\0" % size + content).hexdigest()
        plain = {"path": name, "rfilename": name, "size": size, "oid": git, "blobId": git}
        return {**plain, "lfs": large} if name.endswith(".parquet") else plain

    def info(self, revision: str) -> None:
        commit = self.server.branches.get(revision, revision)
        if commit not in self.server.commits:
            return self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [self.of(name, content) for name, content in self.server.commits[commit].items()]
        return self.say(200, json.dumps({"id": REPO, "sha": commit, "siblings": siblings}).encode())

    def content(self, name: str, whole: bytes) -> None:
        hub = self.server
        if statuses := hub.statuses.get(name):
            return self.say(statuses.pop(0), b"{}")
        asked = None if hub.ignores_ranges else re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, end = (int(asked[1]), int(asked[2] or len(whole) - 1) + 1) if asked else (0, len(whole))
        body = bytes(end - start) if hub.damages == name else whole[start:end]
        cuts = hub.cut_after.get(name)
        sent = body[: cuts.pop(0)] if cuts else body
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(whole)}")
        self.end_headers()
        self.wfile.write(sent)
        if hub.holds_the_line and len(sent) < len(body):
            hub.free.wait(30)
        self.close_connection = True
        return None

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, the settings that lead to it, an empty cache, and less patience."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("vsr_cli.api.hub.pieces.BREATH", 0.01)
    with Hub() as server:
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path),
            "HF_HUB_ETAG_TIMEOUT": 0.3,
            "HF_HUB_DOWNLOAD_TIMEOUT": 0.3,
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
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
def test_a_fresh_fetch_gives_the_stories_and_then_needs_no_hub(hub: Hub, tmp_path: Path, make: Any) -> None:
    dataset = make()
    assert dataset.describe(REPO)["revision"] == "main"
    assert read(dataset) == STORIES
    assert dataset.describe(REPO)["revision"] == MAIN
    # Each file once, and no other file than was asked for.
    wanted = [FIRST, SECOND, LAST] + (["README.md"] if make is hf else [])
    assert sorted(hub.contents()) == [(name, None) for name in sorted(wanted)]
    hub.requests.clear()
    assert read(make()) == STORIES
    assert hub.contents() == []
    hub.down = True
    assert read(make()) == STORIES
    assert whole(hub, tmp_path)


def test_what_is_still_to_come_is_told_beforehand_alone(hub: Hub) -> None:
    dataset = story_reasoning()
    before = dataset.describe(REPO)
    read(dataset)
    assert before == {**dataset.describe(REPO), "revision": "main", "download": "an unknown amount"}


@BOTH
@pytest.mark.parametrize("revision", ["older", OLDER])
def test_a_revision_is_pinned_and_its_commit_recorded(hub: Hub, tmp_path: Path, make: Any, revision: str) -> None:
    dataset = make(revision=revision)
    assert read(dataset) == STORIES
    assert dataset.describe(REPO)["revision"] == OLDER
    assert whole(hub, tmp_path, OLDER)


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_no_such_dataset_and_no_such_revision(hub: Hub, make: Any, streaming: bool) -> None:
    assert "no such dataset" in problem(make(streaming=streaming), "someone/else")
    assert "no such revision" in problem(make(streaming=streaming, revision="future"))
    assert hub.contents() == []


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_that_asks_for_a_login(hub: Hub, make: Any, streaming: bool) -> None:
    hub.is_gated = True
    assert "asks for a login" in problem(make(streaming=streaming))


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_that_is_down_or_does_not_answer_is_asked_once(hub: Hub, make: Any, streaming: bool) -> None:
    hub.down = True
    line = problem(make(streaming=streaming))
    assert "a stream needs" in line if streaming else "not in the local cache" in line
    assert "500" in line
    assert "http" not in line
    hub.down, hub.stalls = False, True
    line = problem(make(streaming=streaming))
    assert "cannot be reached (" in line
    assert "timed out" in line
    assert len(hub.asked()) == 2


@BOTH
def test_a_hub_that_stops_in_the_middle_of_a_file(hub: Hub, tmp_path: Path, make: Any) -> None:
    hub.cut_after, hub.holds_the_line = {FIRST: [10_000, 0, 0, 0]}, True
    line = problem(make())
    assert f"fetching {FIRST} stopped at 0.0 of 0.1 MB (" in line
    assert "timed out" in line
    # What came was kept: it was asked for the rest three times, and again by the next try.
    hub.holds_the_line = False
    read(make())
    assert whole(hub, tmp_path)
    assert [sent for _, sent in hub.contents(FIRST)] == [None, *["bytes=10000-"] * 4]


@BOTH
def test_a_line_that_is_cut_or_an_error_that_passes_is_taken_up_where_it_stopped(
    hub: Hub, tmp_path: Path, make: Any
) -> None:
    hub.cut_after, hub.statuses = {FIRST: [10_000]}, {LAST: [500, 429]}
    assert read(make()) == STORIES
    assert [sent for _, sent in hub.contents(FIRST)] == [None, "bytes=10000-"]
    assert [sent for _, sent in hub.contents(LAST)] == [None] * 3


@BOTH
def test_after_a_lasting_cut_the_next_try_goes_on_where_it_stopped(hub: Hub, tmp_path: Path, make: Any) -> None:
    hub.cut_after = {LAST: [10_000, 0, 0, 0]}
    line = problem(make(revision=OLDER))
    assert f"fetching {LAST} stopped at 0.0 of 0.1 MB (" in line
    assert "goes on from there" in line
    # Two of three files are there, and the cache's folder of this commit is not taken for the whole.
    hub.down, before = True, len(hub.contents())
    assert "not in the local cache" in problem(make(revision=OLDER))
    hub.down = False
    read(make(revision=OLDER))
    assert whole(hub, tmp_path, OLDER)
    assert (LAST, "bytes=10000-") in hub.contents()[before:]
    assert (LAST, None) not in hub.contents()[before:]


def test_a_hub_that_sends_the_whole_when_asked_for_the_rest(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.ignores_ranges = {FIRST: [10_000]}, True
    assert read(story_reasoning()) == STORIES
    assert whole(hub, tmp_path)


@pytest.mark.parametrize("name", [FIRST, "README.md"])
def test_a_file_that_comes_damaged_is_thrown_away(hub: Hub, name: str) -> None:
    hub.damages = name
    assert f"{name} came damaged" in problem(hf())
    hub.damages = None
    assert read(hf()) == STORIES


def test_a_file_whose_name_leads_out_of_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.commits[MAIN]["../../../evil.csv"] = b"a,b\n"
    assert "a file that cannot be" in problem(hf())
    assert not [*tmp_path.parent.glob("evil.csv")]


# Streaming.


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


@BOTH
def test_a_stream_gives_the_same_stories_and_keeps_nothing(hub: Hub, tmp_path: Path, make: Any) -> None:
    dataset = make(streaming=True, revision="older")
    assert dataset.describe(REPO)["revision"] == "older"
    assert "an unknown amount" in dataset.describe(REPO)["stream"]
    streamed = list(dataset.read(REPO))
    assert (dataset.describe(REPO)["revision"], "stream" in dataset.describe(REPO)) == (OLDER, False)
    assert kept(tmp_path) == []
    assert streamed == list(make(revision=OLDER).read(REPO))
    assert len(streamed) == 3


@BOTH
def test_a_short_stream_asks_for_the_beginning_alone(hub: Hub, make: Any) -> None:
    names = [str(number) for number in range(8)]
    hub.commits[MAIN] = {FIRST: parquet(*names, picture=500_000), SECOND: parquet("8"), LAST: parquet("9")}
    size = len(hub.commits[MAIN][FIRST])
    assert read(make(streaming=True), limit=2) == [("0", "train"), ("1", "train")]
    assert {name for name, _ in hub.contents()} == {FIRST}
    ranges = [re.fullmatch(r"bytes=(\d+)-(\d*)", sent or "") for _, sent in hub.contents()]
    spans = [(int(match[1]), int(match[2] or size - 1) + 1) for match in ranges if match]
    assert len(spans) == len(ranges)
    # The table of contents at the end of the file is short, and asked for once, however often the file is opened.
    assert [end - start for start, end in spans if end == size] == [2**16]
    # Of the rest come the first two of eight stories.
    assert max(end for _, end in spans if end < size) < size / 2
    assert sum(end - start for start, end in spans) < size / 2


@BOTH
def test_a_branch_that_moves_does_not_mix_two_states(hub: Hub, make: Any) -> None:
    dataset = make(streaming=True)
    state = dataset.survey(REPO).state
    hub.branches["main"] = NEWER
    hub.commits[NEWER] = {name: parquet("new") for name in (FIRST, SECOND, LAST)}
    stories = dataset.read(REPO)
    first = next(stories)
    assert [story.id for story in (first, *stories)] == ["0", "1", "2"]
    assert state == dataset.describe(REPO)["revision"] == MAIN
    assert {path.split("/")[5] for _, path, _ in hub.requests if "/resolve/" in path} == {MAIN}
    assert make(streaming=True).survey(REPO).state == NEWER


@BOTH
@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"statuses": {SECOND: [404]}}, "404"),
        ({"statuses": {SECOND: [500] * 3}}, "500"),
        ({"cut_after": {SECOND: [0] * 3}}, "peer closed connection"),
        ({"cut_after": {SECOND: [0] * 3}, "holds_the_line": True}, "timed out"),
        ({"ignores_ranges": True}, "not in parts"),
    ],
    ids=["404", "500", "cut", "stall", "no ranges"],
)
def test_a_stream_that_stops_says_where_in_one_line(
    hub: Hub, make: Any, trouble: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    stories = make(streaming=True).read(REPO)
    assert next(stories).id == "0"
    for name, value in copy.deepcopy(trouble).items():
        setattr(hub, name, value)
    with pytest.raises(VsrError) as caught:
        list(stories)
    line = str(caught.value)
    assert "\n" not in line
    assert re.match(rf"{REPO}: streaming {SECOND} stopped at [0-9.]+ of 0.1 MB \(", line)
    assert says in line
    assert "without dataset.streaming=true the next try goes on where it stopped" in line
    assert capfd.readouterr().err == ""


@BOTH
def test_a_stream_is_taken_up_where_a_line_was_cut(hub: Hub, make: Any) -> None:
    stories = make(streaming=True).read(REPO)
    first = next(stories)
    hub.cut_after, hub.statuses = {SECOND: [50_000, 10_000]}, {LAST: [500, 503]}
    assert [first, *stories] == list(make().read(REPO))
    assert not hub.cut_after[SECOND]
    assert not hub.statuses[LAST]


def test_a_stream_of_text_and_named_pictures(hub: Hub, tmp_path: Path) -> None:
    lines = [json.dumps({"story": "a", "image": f"p/{n}.jpg", "text": f"A{n}"}) for n in range(2)]
    lines.append(json.dumps({"story": "a", "image": "../secret.jpg", "text": "C"}))
    pictures = {f"p/{n}.jpg": b"picture %d" % n for n in range(3)}
    hub.commits[MAIN] = {"train.jsonl": "\n".join(lines).encode(), **pictures}
    options = {"streaming": True, "layout": "frames", "images": "image", "texts": "text", "story": "story"}
    (story,) = hf(**options).read(REPO)
    assert [frame.image for frame in story.frames] == [b"picture 0", b"picture 1", None]
    assert [note.code for note in story.notes] == ["outside_folder"]
    assert "p/2.jpg" not in {name for name, _ in hub.contents()}
    table = b"file_name,story,text\n0.jpg,a,A0\n1.jpg,a,A1\n"
    hub.commits[MAIN] = {"metadata.csv": table, **{name.removeprefix("p/"): pictures[name] for name in pictures}}
    (story,) = hf(**options).read(REPO)
    assert [frame.image for frame in story.frames] == [b"picture 0", b"picture 1"]
    assert kept(tmp_path) == []


def test_a_stream_needs_a_hub_even_if_the_cache_holds_it_all(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    read(story_reasoning())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in problem(story_reasoning(streaming=True))
    assert read(story_reasoning()) == STORIES


# What can be told without reading.


@BOTH
def test_the_state_is_the_commit_that_will_be_read(hub: Hub, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    counted = 3 if make is story_reasoning else None
    dataset = make()
    survey = dataset.survey(REPO)
    assert (survey.state, survey.stories, hub.contents()) == (MAIN, None, [])
    assert read(dataset) == STORIES
    assert len(hub.asked()) == 1
    assert (dataset.survey(REPO).stories, make().survey(REPO).stories) == (counted, counted)
    # A branch that moves is another state; of a commit, or with no hub, nothing is asked.
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
from vsr_plugins.datasets.story_reasoning import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build
def ids():
    stories = build(StoryReasoningOptions(streaming=True)).read(sys.argv[1])
    return [story.id for story in itertools.islice(stories, 2)]
print(ids())
"""


@pytest.mark.slow
def test_a_program_that_leaves_a_stream_in_the_middle_ends_well(hub: Hub, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
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
