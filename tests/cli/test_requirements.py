"""What components lack: reported for all of them at once before anything is written, or fetched with our progress."""

import hashlib
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from vsr_cli.api import (
    Component,
    Options,
    Requirement,
    VsrError,
    missing_download,
    missing_file,
    missing_model,
)
from vsr_cli.api.requirements import missing_package
from vsr_cli.config.resolve import Choice
from vsr_cli.plugin import requirements
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Provided

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
def nothing_cached(tmp_path, monkeypatch):
    """Empty caches, and downloads that are off."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


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


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


REFUSED = {
    "prepare mine": ["mobilenet_v2-7ebf99e0.pth (14 MB)", "all-MiniLM-L6-v2 (91 MB)"],
    "prepare mine --preset reference": ["resnet50-11ad3fa6.pth (103 MB)", "distilbert-base-uncased (268 MB)"],
    "prepare --preset strong": ["facebook/dinov2-base (346 MB)", "all-mpnet-base-v2 (438 MB)"],
    "prepare nowhere": ["nowhere: there is no such folder", "mobilenet_v2", "all-MiniLM-L6-v2"],
    "prepare --dataset story-reasoning": [
        "daniel3303/StoryReasoning: not in the cache, and downloads are off (HF_HUB_OFFLINE); ",
        "resnet50",
        "distilbert",
    ],
    "prepare mine --set visual.weights=none.pth --set text.model=./none": ["none.pth: there is no such file", "./none"],
    "prepare empty --preset laptop": ["empty: holds no story folders", "mobilenet_v2", "all-MiniLM-L6-v2"],
    "train --visual resnet50 --text distilbert --text-decoder lm": ["resnet50", "distilbert", "SmolLM2-135M (269 MB)"],
    "train --image-decoder latent --set image_decoder.model=some/vae --visual hf-vision": ["dinov2-small", "some/vae"],
    "train --set objective.perceptual=1 --set objective.perceptual_weights=n.pth --visual resnet50": [
        "n.pth",
        "resnet50",
    ],
    "ablate --visual resnet50 tiny-cnn --text distilbert tiny-text": ["resnet50", "distilbert"],
    "train --data nowhere --preset reference --temporal gruu": ["nowhere", "gruu"],
    "train --data nowhere --preset reference": ["nowhere", "resnet50", "distilbert"],
    "train --track wandb --visual resnet50": ["wandb", "resnet50"],
}


@pytest.mark.parametrize("line", REFUSED)
def test_all_that_is_missing_is_reported_together_and_nothing_is_left_behind(
    nothing_cached, monkeypatch, vsr, write_story, line
):
    work = nothing_cached / "work"
    write_story(work / "mine/one", 5)
    (work / "empty").mkdir()
    monkeypatch.chdir(work)
    before = everything(work)
    answer = vsr(line)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.errors) == len(REFUSED[line])
    for part in REFUSED[line]:
        assert [error for error in answer.errors if part in error], part
    assert everything(work) == before
    assert not (nothing_cached / "torch").exists()


def test_a_missing_file_of_weights_is_named_with_its_size_its_place_and_what_to_set(nothing_cached, monkeypatch, vsr):
    monkeypatch.chdir(nothing_cached)
    visual, text = vsr("prepare --preset reference").errors
    place = nothing_cached / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    assert visual.startswith("visual encoder resnet50: the ImageNet weights resnet50-11ad3fa6.pth (103 MB): ")
    for part in ("HF_HUB_OFFLINE", f"put that file at {place}", "--set visual.weights=FILE"):
        assert part in visual
    for part in ("text encoder distilbert: ", "HF_HUB_OFFLINE", "--set text.model=FOLDER", "HF_HOME"):
        assert part in text


@pytest.mark.parametrize("line", ["prepare --preset reference", "prepare --preset laptop"])
def test_weights_of_presets_that_are_missing_are_reported_without_torch(nothing_cached, line):
    import subprocess
    import sys

    code = f"""
import sys
sys.argv = ["vsr", *{line.split()!r}]
from vsr_cli.cli.main import main
try:
    main()
except SystemExit as stop:
    print(stop.code, "torch" in sys.modules, file=sys.stdout)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(nothing_cached)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=nothing_cached, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "False"], done.stderr


def test_the_files_that_are_known_without_torchvision_are_torchvision_s():
    from torchvision.models import get_model_weights

    from vsr_plugins.visual_encoders.requirements import DEFAULTS, SITE

    for architecture, (name, size) in DEFAULTS.items():
        published = get_model_weights(architecture).DEFAULT
        assert published.url == f"{SITE}{name}"
        assert size == pytest.approx(published.meta["_file_size"] * 2**20, rel=0.01)


def test_where_torch_keeps_its_files_is_known_without_torch(monkeypatch, tmp_path):
    import torch

    from vsr_plugins.visual_encoders.requirements import hub_folder

    for name, value in (("TORCH_HOME", str(tmp_path)), ("TORCH_HOME", None), ("XDG_CACHE_HOME", str(tmp_path / "x"))):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
        assert str(hub_folder()) == torch.hub.get_dir()


def test_a_file_is_fetched_once_whole_and_checked(server, tmp_path):
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
def test_a_file_that_comes_damaged_is_not_kept(server, tmp_path, name, digest, said):
    path = tmp_path / "weights.pth"
    (found,) = missing_download(f"{server}/{name}.pth", path, what="w", remedy="r", sha256=digest)
    with pytest.raises((OSError, ValueError), match=said):
        found.fetch(lambda count: None)
    assert not [each for each in tmp_path.iterdir() if "weights" in each.name]


def test_what_a_server_does_not_have_is_a_problem_before_anything_is_fetched(server, tmp_path):
    (file,) = missing_download(f"{server}/absent.pth", tmp_path / "w.pth", what="w", remedy="r")
    (model,) = missing_model("someone/absent", option="text.model")
    (bare,) = missing_model("someone/bare", option="text.model")
    assert "Not Found" in file.problem
    assert "Hub cannot be reached" in model.problem
    assert bare.problem == "has no model.safetensors or model.safetensors.index.json"


def test_a_model_of_the_hub_is_fetched_into_its_cache_and_nothing_that_is_not_read(server, nothing_cached, capfd):
    (found,) = missing_model(MODEL, option="text.model", files=["config", "weights", "tokenizer"])
    wanted = {name for name in CONTENT if not name.endswith((".bin", ".onnx"))}
    assert (found.problem, found.size) == (None, sum(len(CONTENT[name]) for name in wanted))
    came = []
    found.fetch(came.append)
    assert sum(came) >= 5000
    folder = nothing_cached / "hub/models--someone--encoder/snapshots" / COMMIT
    assert set(everything(folder)) - {"1_Pooling"} == wanted
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
def test_a_folder_of_a_model_lacks_what_it_lacks(tmp_path, files, problem):
    for name in files:
        (tmp_path / name).write_bytes(b"")
    assert [each.problem for each in missing_model(str(tmp_path), option="text.model")] == (
        [problem] if problem else []
    )


def test_libraries_and_files_are_looked_for(tmp_path):
    assert missing_package("json", extra="x") == []
    (found,) = missing_package("no_such_library", extra="timm")
    assert found.remedy == "pip install 'vsr-cli[timm]'"
    assert missing_file(__file__, what="the weights", remedy="r") == []
    assert [each.problem for each in missing_file(tmp_path, what="w", remedy="r")] == ["is a folder"]


def test_a_requirement_is_a_problem_or_can_be_fetched():
    with pytest.raises(ValueError, match="either"):
        Requirement(what="w", remedy="r")
    with pytest.raises(ValueError, match="either"):
        Requirement(what="w", remedy="r", problem="p", fetch=lambda report: None)
    with pytest.raises(ValueError, match="requires"):
        Component(name="odd", summary="", build="x:y", requires="nonsense")


FETCHED: list[str] = []


def lacks(options: Options) -> list[Requirement]:
    """What a third party's component lacks: two things that can be fetched."""
    return [
        Requirement(what=name, remedy="r", size=10, fetch=lambda report, name=name: (report(10), FETCHED.append(name)))
        for name in ("one", "two")
    ]


def breaks(options: Options) -> list[Requirement]:
    def fetch(report):
        raise OSError("the line went dead")

    return [Requirement(what="three", remedy="name a file", fetch=fetch)]


def choice(place: str) -> Choice:
    component = Component(name="theirs", summary="s", build="x:y", requires=f"{__name__}:{place}")
    return Choice(Provided("visual", component, "theirs", "theirs 1.0"), Options())


def test_a_third_party_s_component_has_its_own_fetched_once_and_says_what_failed(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, __name__, SimpleNamespace(lacks=lacks, breaks=breaks))
    FETCHED.clear()
    requirements.provide([("visual", choice("lacks")), ("visual", choice("lacks"))])
    assert FETCHED == ["one", "two"]
    assert "downloading once: visual encoder theirs: one" in capsys.readouterr().err
    with pytest.raises(VsrError) as error:
        requirements.provide([("visual", choice("breaks"))])
    assert str(error.value) == (
        "visual encoder theirs: three: cannot be downloaded (the line went dead); try again, or name a file"
    )
    FETCHED.clear()
    with pytest.raises(VsrError, match="known already"):
        requirements.provide([("visual", choice("lacks"))], mistakes=["known already"])
    assert FETCHED == []


def test_every_component_that_takes_a_model_or_weights_says_what_it_requires():
    named = {"model", "weights"}
    lacking = [
        entry.component.name
        for entry in registry().provided
        if entry.section not in ("metrics", "dataset")
        and named & entry.component.options.model_fields.keys()
        and not entry.component.requires
    ]
    assert lacking == []


def test_a_refused_training_leaves_no_run(place, vsr, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise VsrError("the model cannot be built")

    monkeypatch.setattr("vsr_cli.training.setup.build_model", refuse)
    before = everything(Path("runs"))
    for out in ("", f"--out {tmp_path / 'run'}"):
        answer = vsr(f"train {out}")
        assert answer.code == 2
        assert answer.errors == ["the model cannot be built"]
    assert everything(Path("runs")) == before
    assert not (tmp_path / "run").exists()
