"""Runs of the Hub: which texts name one, and what of a stranger's repository is read."""

import json
from pathlib import Path

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.files.atomic import write_json
from vsr_cli.files.checksums import write_checksums
from vsr_cli.runs.hub import HubId, find_run, hub_id
from vsr_cli.runs.opening import open_run
from vsr_cli.runs.run import FORMAT, Run

from ..model_hub import ModelHub, Repo

REPO = "rosa/next-frame"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The files of a run, as small as can be."""
    folder = tmp_path / "made"
    (folder / "checkpoints/best").mkdir(parents=True)
    (folder / "assets/text").mkdir(parents=True)
    (folder / "assets/text/tokenizer [1].json").write_text("{}")
    (folder / "frozen.safetensors").write_bytes(b"frozen")
    (folder / "checkpoints/best/model.safetensors").write_bytes(b"trained")
    write_json(folder / "config.json", {"training": {"seed": 0}})
    write_json(folder / "run.json", {"format": FORMAT, "status": "finished", "started": "", "data": "d"})
    Run(folder).record_checksums()
    write_checksums(folder / "checkpoints/best", ["model.safetensors"])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def put(models: ModelHub, tmp_path, monkeypatch):
    """Commit files to the repository, and go to an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda files: models.repos.setdefault(REPO, Repo()).commit(files)


def changed(files: dict[str, bytes], tmp_path: Path, **facts) -> dict[str, bytes]:
    """Return the files with other entries in run.json, whose checksum fits."""
    old = json.loads(files["run.json"])
    write_json(tmp_path / "run.json", {**old, **facts})
    return {**files, "run.json": (tmp_path / "run.json").read_bytes()}


def refused(name: str = REPO) -> str:
    with pytest.raises(VsrError) as error:
        find_run(Path(name))
    assert len(error.value.lines) == 1
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rosa/next-frame", HubId("rosa/next-frame")),
        ("rosa/next_frame.v2@refs/pr/1", HubId("rosa/next_frame.v2", "refs/pr/1")),
        ("rosa/a@" + "0" * 40, HubId("rosa/a", "0" * 40)),
        *((text, None) for text in ("run-1", "a/b/c", "/a/b", "../b", "a/..", "a/b@", "a/.b", "a--b/c", "a/b.git")),
        ("rosa/" + "x" * 96, None),
    ],
)  # fmt: skip
def test_hub_id_has_one_slash_and_plain_letters(text, expected):
    assert hub_id(text) == expected


def test_local_folder_and_name_under_runs_come_first_and_make_no_request(models, put):
    for folder in (REPO, "runs/mine"):
        Path(folder).mkdir(parents=True)
    assert find_run(Path(REPO)) == Path(REPO)
    assert find_run(Path("mine")) == Path("runs/mine")
    for missing in ("rosa/other", "runs/typo", "data/typo", "absent", "a/b/c"):
        assert find_run(Path(missing)) == Path(missing)
    assert models.requests == []


def test_path_in_a_folder_that_exists_is_no_id(models, put):
    Path("rosa").mkdir()
    with pytest.raises(VsrError, match=r"no such folder \(rosa/ is a folder here, so this is no id of the Hub\)"):
        open_run(Path(REPO))
    with pytest.raises(VsrError, match=r"--run runs/typo: there is no such folder; "):
        open_run(Path("runs/typo"))
    assert models.requests == []


def test_only_the_files_of_a_run_are_requested(models, put, files):
    evil = ("setup.py", "assets/text/tokenizer.py", "model.pkl", "checkpoints/best/optimizer.pt", "evaluations/x/y.py",
            "assets/text/unlisted.json", "checkpoints/last/state.safetensors", "../outside.json")  # fmt: skip
    put({**files, **dict.fromkeys(evil, b"evil")})
    folder = find_run(Path(REPO))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(files)
    assert set(models.downloads()) == set(files)
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    Run(folder).verify("best")


def test_downloaded_run_is_used_without_the_hub(models, put, files, capsys):
    commit = put(files)
    folder = find_run(Path(REPO))
    models.down = True
    assert find_run(Path(REPO)) == folder
    assert f"using the cached commit {commit[:12]}" in capsys.readouterr().err
    models.requests.clear()
    assert find_run(Path(f"{REPO}@{commit}")) == folder
    assert models.requests == []


def test_new_commit_has_a_folder_of_its_own(models, put, files):
    first = put(files)
    old = find_run(Path(REPO))
    (old / "evaluations").mkdir()
    put({**files, "history.jsonl": b""})
    new = find_run(Path(REPO))
    assert new != old
    assert (old / "evaluations").is_dir()
    assert find_run(Path(f"{REPO}@{first}")) == old


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "assets/../../x", "assets\\..\\x", "other/file.json"])
def test_file_outside_of_the_assets_is_refused(models, put, files, tmp_path, name):
    put(changed(files, tmp_path, checksums={**json.loads(files["run.json"])["checksums"], name: "xxh3-128:0"}))
    assert "outside of its assets" in refused()


def test_file_that_may_hold_code_is_refused(models, put, files, tmp_path):
    name = "assets/text/weights.bin"
    put({**changed(files, tmp_path, checksums={**json.loads(files["run.json"])["checksums"], name: "x"}), name: b"x"})
    assert f"needs {name}, which may hold code" in refused()
    assert name not in models.downloads()


def test_damaged_download_is_refused_and_not_installed(models, put, files, tmp_path):
    put({**files, "checkpoints/best/model.safetensors": b"other"})
    assert "checkpoints/best/model.safetensors does not fit its checksum" in refused()
    assert list((tmp_path / "vsr-cache/hub").iterdir()) == []


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (lambda hub, files: None, "there is no such folder, and no such run on the Hugging Face Hub"),
        (lambda hub, files: {"README.md": b"x"}, "is not a run of vsr on the Hugging Face Hub (has no config.json)"),
        (lambda hub, files: {**files, "config.json": b"{}"}, "is not a run of this version of vsr"),
        (lambda hub, files: {k: v for k, v in files.items() if "tokenizer" not in k}, "lacks assets/text/tokenizer"),
        (lambda hub, files: setattr(hub, "down", True), "cannot be reached"),
    ],
)
def test_problem_of_a_repository_is_one_line(models, put, files, arrange, words):
    if content := arrange(models, files):
        put(content)
    message = refused()
    assert message.startswith(f"{REPO}: ")
    assert words in message


def test_missing_revision_is_one_line(models, put, files):
    put(files)
    assert "has no such revision" in refused(f"{REPO}@v9")


def test_offline_without_a_cached_run_says_so(models, put, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused()
    assert models.requests == []
