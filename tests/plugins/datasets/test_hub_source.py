"""Downloads and streams from a local server with the protocol of the Hub."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vsr_cli.api import Dataset, Story, VsrError
from vsr_plugins.datasets import HubOptions, StoryReasoningOptions
from vsr_plugins.datasets.hf import build as build_hf
from vsr_plugins.datasets.story_reasoning.reader import build as build_story_reasoning

from .hub_server import FIRST, LAST, MAIN, NEWER, OLDER, REPO, SECOND, Hub, parquet, repository, stall

STORIES = [("0", "train"), ("1", "train"), ("2", "test")]


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
def test_download_is_read_again_without_the_hub(hub: Hub, tmp_path: Path, make: Any) -> None:
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
def test_revision_is_pinned_and_its_commit_recorded(hub: Hub, tmp_path: Path, make: Any, revision: str) -> None:
    dataset = make(revision=revision)
    assert read(dataset) == STORIES
    assert dataset.describe(REPO)["revision"] == OLDER
    assert whole(hub, tmp_path, OLDER)


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_refused_hub_request_is_one_line(hub: Hub, make: Any, streaming: bool) -> None:
    assert "no such dataset" in problem(make(streaming=streaming), "someone/else")
    assert "no such revision" in problem(make(streaming=streaming, revision="future"))
    assert hub.contents() == []
    hub.is_gated = True
    assert "requires a login" in problem(make(streaming=streaming))


@BOTH
@pytest.mark.parametrize("streaming", [False, True])
def test_unavailable_hub_is_one_line(
    hub: Hub, make: Any, streaming: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.down = True
    line = problem(make(streaming=streaming))
    assert ("streaming needs" if streaming else "not in the cache") in line
    assert "500" in line
    assert "http" not in line
    hub.down = False
    stall(hub, monkeypatch)
    line = problem(make(streaming=streaming))
    assert "cannot be reached (" in line
    assert "timed out" in line
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in problem(make(streaming=streaming))
    assert capfd.readouterr().err == ""


def test_broken_download_resumes(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = {FIRST: [10_000]}
    assert read(story_reasoning()) == STORIES
    assert [sent for _, sent in hub.contents(FIRST)] == [None, "bytes=10000-"]
    assert whole(hub, tmp_path)


@BOTH
def test_only_missing_files_are_downloaded_after_an_interruption(hub: Hub, tmp_path: Path, make: Any) -> None:
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


def test_file_name_outside_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.commits[MAIN]["../../../evil.csv"] = b"a,b\n"
    assert "failed (" in problem(hf())
    assert not [*tmp_path.parent.glob("evil.csv")]


# Streaming.


@BOTH
def test_stream_equals_download_and_stores_nothing(hub: Hub, tmp_path: Path, make: Any) -> None:
    dataset = make(streaming=True, revision="older")
    assert dataset.describe(REPO)["revision"] == "older"
    assert "an unknown amount" in dataset.describe(REPO)["stream"]
    streamed = list(dataset.read(REPO))
    assert (dataset.describe(REPO)["revision"], "stream" in dataset.describe(REPO)) == (OLDER, False)
    assert list(tmp_path.rglob("*.parquet")) == []
    assert streamed == list(make(revision=OLDER).read(REPO))
    assert len(streamed) == 3


@BOTH
def test_short_stream_reads_only_the_first_file(hub: Hub, make: Any) -> None:
    names = [str(number) for number in range(8)]
    hub.commits[MAIN] = {FIRST: parquet(*names, picture=1_000_000), SECOND: parquet("8"), LAST: parquet("9")}
    assert read(make(streaming=True), limit=1) == [("0", "train")]
    assert {name for name, _ in hub.contents()} == {FIRST}
    spans = [re.fullmatch(r"bytes=(\d+)-(\d+)", sent or "") for _, sent in hub.contents()]
    asked = sum(int(match[2]) - int(match[1]) + 1 for match in spans if match)
    assert len(spans) == len(list(filter(None, spans)))
    assert asked < len(hub.commits[MAIN][FIRST]) / 2


@BOTH
def test_stream_stays_on_one_commit(hub: Hub, make: Any) -> None:
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
def test_interrupted_stream_is_one_line(
    hub: Hub, make: Any, trouble: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stories = make(streaming=True).read(REPO)
    assert next(stories).id == "0"
    if trouble == "stalls":
        stall(hub, monkeypatch)
    hub.down = trouble == "down"
    with pytest.raises(VsrError) as caught:
        list(stories)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(REPO)
    assert {"down": "500", "stalls": "timed out"}[trouble] in str(caught.value)
    assert capfd.readouterr().err == ""


def test_stream_of_text_and_image_paths(hub: Hub) -> None:
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
def test_survey_state_is_the_commit(hub: Hub, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
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

PATIENCE = 600
"""Seconds: the program takes six of a processor, on a busy machine over a minute. One that hangs does so forever."""
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
def test_program_may_leave_a_stream_early(hub: Hub, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    settings = {
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "plugins")]),
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_ETAG_TIMEOUT": str(PATIENCE),
        "HF_HUB_DOWNLOAD_TIMEOUT": str(PATIENCE),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", STREAM, REPO],
        env={key: value for key, value in os.environ.items() if not key.startswith("HF_")} | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "['0', '1']")
