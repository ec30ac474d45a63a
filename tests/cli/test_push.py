"""`vsr push`, `vsr card`, and runs of the Hub in place of a folder, against a local server."""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from vsr_cli.files.atomic import read_json
from vsr_cli.runs.run import Run

from ..model_hub import READER

REPO = "rosa/next-frame"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def pushed(evaluated, vsr, models):
    """The files of a run after a push, which shows its storyboards."""
    answer = vsr(f"push {evaluated} {REPO}")
    assert answer.code == 0, answer.err
    assert answer.out == f"{models.url}/{REPO}\n"
    return models.repos[REPO].files()


def elsewhere(monkeypatch, tmp_path: Path) -> Path:
    """Go to another folder, as on another machine: with empty caches."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_pushed_run_predicts_what_the_local_one_does(
    pushed, evaluated, vsr, models, tmp_path, monkeypatch, write_story
):
    story = write_story(tmp_path / "story", 4)
    here = vsr(f"predict {story} --run {evaluated} --out here --json")
    evaluated = evaluated.resolve()
    elsewhere(monkeypatch, tmp_path)
    models.requests.clear()
    there = vsr(f"predict {story} --run {REPO} --out there --json")
    assert there.code == 0, there.err
    first, second = json.loads(here.out), json.loads(there.out)
    assert first["text"] == second["text"]
    image = Path("there/story/image.png").read_bytes()
    assert image == (tmp_path / "here/story/image.png").read_bytes()
    assert Run(evaluated).weights_digest() == Run(Path(second["run"])).weights_digest()
    files = {name for name, content in pushed.items() if content and name not in ("README.md", ".gitattributes")}
    assert set(models.downloads()) == files


def test_push_leaves_training_state_paths_and_command_line_here(pushed, evaluated, tmp_path):
    assert not [name for name in pushed if name.startswith("checkpoints/last") or "state" in name]
    texts = b"".join(content for name, content in pushed.items() if name.endswith((".json", ".jsonl", ".md")))
    assert str(tmp_path).encode() not in texts
    assert read_json(evaluated / "run.json", what="a run")["data"].encode() not in texts
    assert b"argv" not in pushed["run.json"]


def test_card_is_valid_and_has_the_stored_scores(pushed, evaluated):
    card = ModelCard(pushed["README.md"].decode(), ignore_metadata_errors=False)
    result = json.loads((evaluated / "evaluations/test/result.json").read_text())
    assert (card.data.library_name, card.data.pipeline_tag) == ("vsr", "any-to-any")
    assert {each.metric_type: each.metric_value for each in card.data.eval_results} == {
        name: cell["value"] for name, cell in result["metrics"].items()
    }
    assert {(each.dataset_name, each.dataset_split) for each in card.data.eval_results} == {("storyworld", "test")}
    args = {each.metric_type: each.metric_args or {} for each in card.data.eval_results}
    intervals = {name: of.get("95% interval over stories") for name, of in args.items()}
    assert intervals == {name: cell["ci95"] for name, cell in result["metrics"].items()}
    assert f"--run {REPO}" in card.text
    assert f'vsr.load("{REPO}")' in card.text
    assert "random seed 0" in card.text
    assert "CC0" in card.text
    linked = re.findall(r"!\[.*?\]\((.*?)\)", card.text)
    assert linked == ["evaluations/test/storyboards.png"]
    assert pushed[linked[0]] == (evaluated / linked[0]).read_bytes()


def test_scores_of_two_decodings_are_two_results_of_the_card(evaluated, vsr):
    data = json.loads((evaluated / "run.json").read_text())["data"]
    assert vsr(f"evaluate --run {evaluated} --data {data} --metrics mse --decoding beam").code == 0
    assert vsr(f"card {evaluated}").code == 0
    index = ModelCard.load(evaluated / "README.md").data.to_dict()["model-index"][0]["results"]
    assert [len({each["type"] for each in result["metrics"]}) for result in index] == [
        len(result["metrics"]) for result in index
    ]
    assert [result["dataset"]["args"]["decoding"] for result in index] == ["greedy", "beam"]


def test_without_storyboards_no_text_or_image_of_a_story_is_uploaded(evaluated, vsr, models):
    assert vsr(f"push {evaluated} {REPO} --no-storyboards").code == 0
    files = models.repos[REPO].files()
    assert {name.split("/")[-1] for name in files if name.startswith("evaluations")} == {
        "result.json",
        "statistics.safetensors",
        "checksums.json",
    }
    reference = json.loads((evaluated / "evaluations/test/predictions.jsonl").read_text().splitlines()[0])["reference"]
    assert not [name for name, content in files.items() if reference.encode() in content]
    assert "![" not in files["README.md"].decode()


def test_data_of_unknown_licence_is_not_shown_unless_asked(evaluated, vsr, monkeypatch):
    monkeypatch.setattr("vsr_cli.workflows.sharing._manifest", lambda run: {"source": {"source": "mine"}})
    answer = vsr(f"push {evaluated} {REPO} --dry-run --json")
    assert "licence of the data is not recorded; add --storyboards" in answer.err
    assert not [file for file in json.loads(answer.out)["files"] if "storyboards" in file["path"]]
    shown = json.loads(vsr(f"push {evaluated} {REPO} --dry-run --json --storyboards").out)
    assert [file for file in shown["files"] if "storyboards" in file["path"]]


def test_second_push_replaces_the_run_and_keeps_files_of_others(pushed, evaluated, vsr, models):
    repo = models.repos[REPO]
    repo.commit({**pushed, "NOTES.md": b"mine", "assets/old.json": b"{}"})
    assert vsr(f"push {evaluated} {REPO} --no-storyboards --message 'Without images'").code == 0
    files = repo.files()
    assert files["NOTES.md"] == b"mine"
    assert not [name for name in files if "old.json" in name or "storyboards" in name]
    assert repo.messages[-1] == "Without images"


def test_revision_is_a_branch_to_push_to_and_to_load_from(pushed, evaluated, vsr, models, tmp_path, monkeypatch):
    answer = vsr(f"push {evaluated} {REPO} --revision v2 --no-storyboards")
    assert answer.out == f"{models.url}/{REPO}/tree/v2\n"
    assert models.repos[REPO].files("main") == pushed
    elsewhere(monkeypatch, tmp_path)
    shown = json.loads(vsr(f"runs show {REPO}@v2 --json").out)
    assert not (Path(shown["folder"]) / "evaluations/test/storyboards.png").exists()
    assert shown["evaluations"][0]["scores"].keys() == {"bleu", "bleu-lower", "mse"}


def test_dry_run_makes_no_request(evaluated, vsr, models):
    answer = vsr(f"push {evaluated} {REPO} --dry-run")
    assert answer.code == 0
    assert "checkpoints/best/model.safetensors" in answer.out
    assert models.requests == []


def test_unfinished_run_is_not_pushed(evaluated, vsr, models):
    Run(evaluated).update(status="interrupted")
    answer = vsr(f"push {evaluated} {REPO}")
    assert answer.code == 2
    assert "has not finished (status: interrupted)" in answer.errors[0]
    assert f"'vsr train --resume {evaluated}'" in answer.errors[0]
    assert models.requests == []


def test_damaged_run_is_not_pushed(evaluated, vsr, models):
    weights = evaluated / "checkpoints/best/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "its checksum differs" in vsr(f"push {evaluated} {REPO}").errors[0]
    assert models.requests == []


@pytest.mark.parametrize("name", ["next-frame", "a/b/c", "rosa/next frame", f"{REPO}@main", "../x", "rosa/.git"])
def test_bad_repository_is_one_line(evaluated, vsr, models, name):
    answer = vsr(f"push {evaluated} '{name}'")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "it has the form user/name" in answer.errors[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hub, patch: patch.delenv("HF_TOKEN"), "log in with 'hf auth login', or set HF_TOKEN"),
        (lambda hub, patch: patch.setenv("HF_TOKEN", READER), "no permission to write there (403)"),
        (lambda hub, patch: setattr(hub, "down", True), "uploading failed"),
        (lambda hub, patch: setattr(hub, "fails_at", "/upload/"), "run the same command again"),
        (lambda hub, patch: patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True), "HF_HUB_OFFLINE"),
        (lambda hub, patch: patch.setattr("huggingface_hub.constants.ENDPOINT", NOWHERE), "cannot be reached"),
    ],
)  # fmt: skip
def test_refused_upload_is_one_line(evaluated, vsr, models, monkeypatch, change, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "absent")
    change(models, monkeypatch)
    answer = vsr(f"push {evaluated} {REPO}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert words in answer.errors[0]


def test_private_run_needs_a_token(evaluated, vsr, models, tmp_path, monkeypatch):
    assert vsr(f"push {evaluated} {REPO} --private").code == 0
    assert models.repos[REPO].private
    elsewhere(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert vsr(f"runs show {REPO}").code == 0
    shutil.rmtree(tmp_path / "vsr-cache")
    shutil.rmtree(tmp_path / "hub-cache")
    monkeypatch.delenv("HF_TOKEN")
    answer = vsr(f"evaluate --run {REPO}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "HF_TOKEN" in answer.errors[0]


def test_private_of_a_public_repository_is_refused(pushed, evaluated, vsr):
    answer = vsr(f"push {evaluated} {REPO} --private")
    assert "exists and is public" in answer.errors[0]


def test_run_of_the_hub_is_evaluated_and_compared(pushed, evaluated, vsr, tmp_path):
    data = read_json(evaluated / "run.json", what="a run")["data"]
    compared = json.loads(vsr(f"compare {evaluated} {REPO} --json").out)
    assert [score["difference"] for score in compared["metrics"]["bleu"]["scores"][1:]] == [0.0]
    answer = vsr(f"evaluate --run {REPO} --metrics bleu")
    assert "name its folder with --data DIR" in answer.errors[0]
    scored = json.loads(vsr(f"evaluate --run {REPO} --data {data} --metrics bleu --json").out)
    assert scored["metrics"]["bleu"]["value"] == compared["metrics"]["bleu"]["scores"][0]["value"]


def test_card_is_written_into_the_run_or_with_its_image_elsewhere(evaluated, vsr, empty):
    assert vsr(f"card {evaluated} --license mit").out == f"{evaluated}/README.md\n"
    text = (evaluated / "README.md").read_text()
    assert "license: mit" in text
    assert (evaluated / re.search(r"\((.*png)\)", text)[1]).is_file()
    assert vsr(f"card {evaluated} --out shown/card.md").code == 0
    text = Path("shown/card.md").read_text()
    assert (Path("shown") / re.search(r"\((.*png)\)", text)[1]).is_file()


def test_card_overwrites_no_other_file(evaluated, vsr):
    (evaluated / "README.md").write_text("my notes")
    answer = vsr(f"card {evaluated}")
    assert "nothing is overwritten" in answer.errors[0]
    assert (evaluated / "README.md").read_text() == "my notes"


def test_card_of_a_run_without_evaluation_has_no_scores(evaluated, vsr):
    shutil.rmtree(evaluated / "evaluations")
    answer = vsr(f"card {evaluated}")
    assert "has no evaluation" in answer.err
    card = ModelCard((evaluated / "README.md").read_text())
    assert card.data.eval_results is None
    assert "This run has no stored evaluation." in card.text
