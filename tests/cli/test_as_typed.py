"""The lines of the manual, as they are typed, and what the commands write."""

import json
import os
import shutil

import pytest
from PIL import Image

PREDICTION_KEYS = ["story", "context", "text", "image", "run", "decoding"]


def test_train_in_an_empty_folder_prepares_the_embedded_dataset_and_says_so(trained):
    folder, answer = trained
    assert answer.code == 0
    assert "this run trains on stories that vsr generates (storyworld, preset tiny)" in answer.err
    assert (folder / "data/storyworld/manifest.json").is_file()
    (run,) = (folder / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert json.loads((run / "config.json").read_text())["temporal"]["name"] == "gru"
    assert len((run / "history.jsonl").read_text().splitlines()) == 1
    assert "next: vsr evaluate --run runs/" in answer.err


@pytest.mark.parametrize(
    "words", ["bleu rouge meteor", "bleu --metrics rouge --metrics meteor", "bleu,rouge,meteor", "bleu,rouge meteor"]
)
def test_evaluate_takes_several_metrics_however_they_are_written(place, vsr, words):
    answer = vsr(f"evaluate --metrics {words} --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert list(result["metrics"]) == ["bleu", "rouge", "meteor"]
    assert result["split"] == "test"
    assert all({"value", "scale", "baselines"} <= score.keys() for score in result["metrics"].values())


def test_evaluate_shows_a_table_and_keeps_the_result_in_the_run(place, vsr):
    answer = vsr("evaluate --metrics bleu")
    assert answer.code == 0, answer.err
    assert "bleu" in answer.out
    assert "copy-last" in answer.out
    (run,) = (place / "runs").iterdir()
    kept = run / "evaluations/test"
    assert "bleu" in json.loads((kept / "result.json").read_text())["metrics"]
    assert (kept / "predictions.jsonl").read_text()
    Image.open(kept / "storyboards.png").load()


def test_evaluate_scores_on_the_data_that_the_run_was_trained_on(place, vsr, tmp_path):
    newer = place / "data/newer"
    shutil.copytree(place / "data/storyworld", newer)
    try:
        os.utime(newer / "manifest.json")
        by_default = json.loads(vsr("evaluate --metrics bleu --json").out)
        named = json.loads(vsr("evaluate --metrics bleu --data data/newer --json").out)
    finally:
        shutil.rmtree(newer)
    assert by_default["data"] == str(place / "data/storyworld")
    assert named["data"] == "data/newer"
    assert named["metrics"] == by_default["metrics"]


def test_evaluating_the_training_split_has_to_be_asked_for(place, vsr):
    refused = vsr("evaluate --split train --metrics bleu")
    assert refused.code == 2
    assert "--allow-train" in refused.errors[0]
    assert vsr("evaluate --split train --metrics bleu --allow-train --json").code == 0


def test_predict_prints_the_text_and_writes_the_pictures_and_the_record(place, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story_dir", 4)
    answer = vsr(f"predict {story}/")
    assert answer.code == 0, answer.err
    (run,) = (place / "runs").iterdir()
    folder = run / "predictions/story_dir"
    record = json.loads((folder / "prediction.json").read_text())
    assert answer.out.splitlines()[0] == "story_dir"
    assert (record["text"] or "(the model wrote no word)") in answer.out
    assert Image.open(folder / "image.png").size == (32, 32)
    Image.open(folder / "storyboard.png").load()
    assert sorted(path.name for path in folder.iterdir()) == ["image.png", "prediction.json", "storyboard.png"]


def test_predict_json_is_one_object_a_story_and_nothing_else_on_stdout(place, vsr, write_story, tmp_path):
    long, short = write_story(tmp_path / "long", 7), write_story(tmp_path / "short", 2, suffix="png")
    answer = vsr(f"predict {long} {short} --json --out {tmp_path / 'next'}")
    assert answer.code == 0, answer.err
    first, second = map(json.loads, answer.out.splitlines())
    assert list(first) == list(second) == PREDICTION_KEYS
    assert [frame["frame"] for frame in first["context"]] == [4, 5, 6, 7]
    assert first["context"][-1] == {"frame": 7, "image": str(long / "7.jpg"), "text": "Ana finds thing number 7."}
    assert first["image"] == str(tmp_path / "next/long/image.png")
    assert [frame["frame"] for frame in second["context"]] == [1, 2]
    notes = [line for line in answer.err.splitlines() if line.startswith("note: ")]
    assert ["long has 7 frames" in notes[0], "short has 2 frames" in notes[1]] == [True, True]
    assert json.loads((tmp_path / "next/long/prediction.json").read_text()) == first


def test_predict_writes_as_it_is_told_and_records_it(place, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)

    def told(words):
        answer = vsr(f"predict {story} --json --out {tmp_path / 'next'} {words}")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    plain, drawn, other = told(""), told("--decoding sample"), told("--decoding sample --set decoding.seed=1")
    assert plain["decoding"] == {"method": "greedy", "no_repeat_ngram": 0}
    assert drawn["decoding"]["seed"] == 0
    assert other["decoding"]["seed"] == 1
    assert len({plain["text"], drawn["text"], other["text"]}) == 3
    assert told("--decoding sample") == drawn


def test_an_equal_story_gives_equal_bytes(place, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)
    for out in ("one", "two"):
        assert vsr(f"predict {story} --out {tmp_path / out}").code == 0
    for name in ("image.png", "storyboard.png"):
        assert (tmp_path / "one/story" / name).read_bytes() == (tmp_path / "two/story" / name).read_bytes()


def test_predict_needs_the_run_and_nothing_else(place, vsr, write_story, tmp_path, monkeypatch):
    (run,) = (place / "runs").iterdir()
    shutil.copytree(run, tmp_path / "elsewhere/mine")
    story = write_story(tmp_path / "story", 4)
    monkeypatch.chdir(tmp_path / "elsewhere")
    answer = vsr(f"predict {story} --run mine --json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["run"] == "mine"


def test_train_takes_the_newest_data_and_config_show_is_what_it_would_do(place, vsr, tmp_path):
    shown = vsr("config show --temporal lstm --epochs 3 --set temporal.layers=2")
    assert shown.code == 0
    settings = json.loads(shown.out)
    assert settings["temporal"] == {"name": "lstm", "layers": 2, "dropout": 0.0}
    assert settings["visual"]["name"] == "tiny-cnn"
    (tmp_path / "mine.json").write_text(shown.out)
    again = vsr(f"config show --config {tmp_path / 'mine.json'}")
    assert again.out == shown.out
    answer = vsr(f"train --config {tmp_path / 'mine.json'} --epochs 1 --out {tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    written = json.loads((tmp_path / "run/config.json").read_text())
    assert {key: written[key] for key in settings} == {**settings, "training": {**settings["training"], "epochs": 1}}
    assert json.loads((tmp_path / "run/run.json").read_text())["data"] == str(place / "data/storyworld")


def test_prepare_own_stories_counts_and_lists_the_bad_ones(place, vsr, write_story, tmp_path):
    for number in range(6):
        write_story(tmp_path / f"mine/story-{number}", 5)
    (tmp_path / "mine/story-2/3.jpg").write_bytes((tmp_path / "mine/story-2/3.jpg").read_bytes()[:200])
    (tmp_path / "mine/story-4/1.txt").write_text(" \n")
    answer = vsr(f"prepare {tmp_path / 'mine'} --preset tiny --window first --out {tmp_path / 'out'} --json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said["folder"] == str(tmp_path / "out")
    assert sum(said["counts"]["stories_kept"].values()) == 4
    assert sum(said["counts"]["stories_dropped"].values()) == 2
    problems = [json.loads(line) for line in (tmp_path / "out/problems.jsonl").read_text().splitlines()]
    assert {(problem["story"], problem["code"]) for problem in problems} == {
        ("story-2", "truncated_image"),
        ("story-4", "empty_text"),
    }


def test_window_short_and_limit_do_what_they_say(place, vsr, write_story, tmp_path):
    for number, pairs in enumerate((7, 4, 5)):
        write_story(tmp_path / f"mine/{number}", pairs)
    line = f"prepare {tmp_path / 'mine'} --preset tiny --json --out {tmp_path / 'out'}"
    counts = {
        words: sum(json.loads(vsr(f"{line} {words}").out)["counts"]["windows_kept"].values())
        for words in ("--window first", "--window last", "--window sliding", "--window first --short-stories pad")
    }
    assert list(counts.values()) == [2, 2, 4, 3]
    assert json.loads(vsr(f"{line} --limit 1 --window first").out)["counts"]["stories_read"] == 1


@pytest.mark.slow
def test_all_metrics_are_scored_or_said_to_be_unavailable(place, vsr):
    answer = vsr("evaluate --metrics all --json")
    assert answer.code == 0
    cells = json.loads(answer.out)["metrics"]
    components = json.loads(vsr("plugins list --json").out)["components"]
    installed = {component["name"] for component in components if component["kind"] == "metrics"}
    assert cells.keys() == installed
    for name, cell in cells.items():
        assert ("unavailable" in cell) != ("value" in cell), name
