"""Requirements of components: what is missing, and how it is downloaded."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest

from vsr_cli.api import (
    Component,
    Requirement,
    missing_download,
    missing_file,
    missing_model,
)
from vsr_cli.api.requirements import missing_package

from ..folders import names_in

MODEL, COMMIT = "someone/encoder", "a" * 40


CONTENT = {
    "config.json": b"{}",
    "model.safetensors": bytes(5000),
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"onnx",
    "1_Pooling/config.json": b"{}",
}


BARE = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}


WEIGHTS = bytes(range(256)) * 40


DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


class Answer(BaseHTTPRequestHandler):
    """A server of one weights file and, as the hub does it, of two models."""

    def log_message(self, *_):
        """Keep quiet."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        model = re.fullmatch(r"/api/models/someone/(encoder|bare)", path)
        file = re.fullmatch(r"/someone/(?:encoder|bare)/resolve/\w+/(.*)", path)
        if path.endswith(".pth") and "absent" not in path:
            self.say(200, WEIGHTS, cut="broken" in path)
        elif model:
            held = CONTENT if model[1] == "encoder" else BARE
            siblings = [{"rfilename": name, "size": len(content)} for name, content in held.items()]
            self.say(200, json.dumps({"id": MODEL, "sha": COMMIT, "siblings": siblings}).encode())
        elif file and file[1] in CONTENT:
            content = CONTENT[file[1]]
            etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self.say(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def say(self, status, body, headers=None, *, cut=False):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:100] if cut else body)


@pytest.fixture
def server(nothing_cached, monkeypatch):
    """A server that can be reached."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as found:
        url = f"http://127.0.0.1:{found.server_address[1]}"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield url
        huggingface_hub.close_session()
        found.shutdown()
        thread.join()


def test_file_is_downloaded_once_and_verified(server, tmp_path):
    path = tmp_path / "there/weights.pth"
    (found,) = missing_download(f"{server}/w.pth", path, what="w", remedy="r", sha256=DIGEST[:8])
    assert (found.problem, found.size) == (None, len(WEIGHTS))
    came = []
    found.fetch(came.append)
    assert path.read_bytes() == WEIGHTS
    assert sum(came) == len(WEIGHTS)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert missing_download(f"{server}/w.pth", path, what="w", remedy="r") == []


@pytest.mark.parametrize(("name", "digest", "said"), [("broken", DIGEST, "ended after 100"), ("w", "0" * 8, "digest")])
def test_damaged_download_is_discarded(server, tmp_path, name, digest, said):
    path = tmp_path / "weights.pth"
    (found,) = missing_download(f"{server}/{name}.pth", path, what="w", remedy="r", sha256=digest)
    with pytest.raises((OSError, ValueError), match=said):
        found.fetch(lambda count: None)
    assert not [each for each in tmp_path.iterdir() if "weights" in each.name]


def test_missing_remote_files_are_reported_before_download(server, tmp_path):
    (file,) = missing_download(f"{server}/absent.pth", tmp_path / "w.pth", what="w", remedy="r")
    (model,) = missing_model("someone/absent", option="text.model")
    (bare,) = missing_model("someone/bare", option="text.model")
    assert "Not Found" in file.problem
    assert "Hub cannot be reached" in model.problem
    assert bare.problem == "has no model.safetensors or model.safetensors.index.json"


def test_hub_model_download_skips_unused_files(server, nothing_cached, capfd):
    (found,) = missing_model(MODEL, option="text.model", files=["config", "weights", "tokenizer"])
    wanted = {name for name in CONTENT if not name.endswith((".bin", ".onnx"))}
    assert (found.problem, found.size) == (None, sum(len(CONTENT[name]) for name in wanted))
    came = []
    found.fetch(came.append)
    assert sum(came) >= 5000
    folder = nothing_cached / "hub/models--someone--encoder/snapshots" / COMMIT
    assert set(names_in(folder)) - {"1_Pooling"} == wanted
    assert missing_model(MODEL, option="text.model", files=["config", "weights", "tokenizer"]) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([], "holds no config.json"),
        (["config.json"], "holds no model.safetensors or model.safetensors.index.json"),
        (["config.json", "model.safetensors"], None),
    ],
)
def test_missing_files_of_a_model_folder_are_named(tmp_path, files, problem):
    for name in files:
        (tmp_path / name).write_bytes(b"")
    assert [each.problem for each in missing_model(str(tmp_path), option="text.model")] == (
        [problem] if problem else []
    )


def test_missing_packages_and_files_are_reported(tmp_path):
    assert missing_package("json", extra="x") == []
    (found,) = missing_package("no_such_library", extra="timm")
    assert found.remedy == "pip install 'vsr-cli[timm]'"
    assert missing_file(__file__, what="the weights", remedy="r") == []
    assert [each.problem for each in missing_file(tmp_path, what="w", remedy="r")] == ["is a folder"]


def test_requirement_needs_either_problem_or_fetch():
    with pytest.raises(ValueError, match="either"):
        Requirement(what="w", remedy="r")
    with pytest.raises(ValueError, match="either"):
        Requirement(what="w", remedy="r", problem="p", fetch=lambda report: None)
    with pytest.raises(ValueError, match="requires"):
        Component(name="odd", summary="", build="x:y", requires="nonsense")
