"""`vsr prepare`: stories, splits, image sizes, shards and repeated runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsr_cli.ablation import engines
from vsr_cli.cli.prepare_shards import words_of_shard

from ..folders import contents


def test_prepare_counts_and_lists_invalid_stories(workspace, vsr, write_story, tmp_path):
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


def test_window_short_stories_and_limit_options(workspace, vsr, write_story, tmp_path):
    for number, pairs in enumerate((7, 4, 5)):
        write_story(tmp_path / f"mine/{number}", pairs)
    line = f"prepare {tmp_path / 'mine'} --preset tiny --json --out {tmp_path / 'out'}"
    counts = {
        words: sum(json.loads(vsr(f"{line} {words}").out)["counts"]["windows_kept"].values())
        for words in ("--window first", "--window last", "--window sliding", "--window first --short-stories pad")
    }
    assert list(counts.values()) == [2, 2, 4, 3]
    assert json.loads(vsr(f"{line} --limit 1 --window first").out)["counts"]["stories_read"] == 1


def test_a_split_without_stories_is_noted(workspace, vsr, write_story, tmp_path):
    write_story(tmp_path / "mine/1", 7)
    line = f"prepare {tmp_path / 'mine'} --preset tiny --out {tmp_path / 'out'}"
    said = vsr(line).err
    assert (
        "note: no story fell into the validation split, so training keeps its last weights instead of its best" in said
    )
    assert "note: no story fell into the test split, so no score can be measured; prepare more stories" in said
    said = vsr(f"{line} --set data.validation=0 data.test=0").err
    assert "note:" not in said
    for number in range(2, 6):
        write_story(tmp_path / f"mine/{number}", 7)
        for text in (tmp_path / f"mine/{number}").glob("*.txt"):
            text.write_text(f"Story {number}: {text.read_text()}")
    assert "note:" not in vsr(line).err


@pytest.fixture
def twelve_stories(write_story, tmp_path):
    for number in range(1, 13):
        write_story(tmp_path / f"mine/{number}", 6)
        for text in (tmp_path / f"mine/{number}").glob("*.txt"):
            text.write_text(f"Story {number}: {text.read_text()}")
    return tmp_path / "mine"


def test_second_prepare_does_nothing(vsr, workspace, twelve_stories, tmp_path):
    line = f"prepare {twelve_stories} --preset tiny --out {tmp_path / 'out'}"
    assert vsr(line).code == 0
    before = contents(tmp_path / "out")
    answer = vsr(line)
    assert answer.code == 0
    assert "12 stories stored already, all unchanged" in answer.err
    assert "nothing to do" in answer.err
    assert contents(tmp_path / "out") == before


def test_second_prepare_with_another_text_encoder_encodes_no_image(
    vsr, workspace, eight_stories, tmp_path, monkeypatch
):
    from vsr_plugins.visual_encoders.pretrained import PretrainedEncoder

    encoded, frozen = [], PretrainedEncoder.frozen

    def counted(self, pixels):
        encoded.append(len(pixels))
        return frozen(self, pixels)

    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(PretrainedEncoder, "frozen", counted)
    line = f"prepare {eight_stories} --preset tiny --visual mobilenet_v2 --set visual.weights=random"
    first = vsr(f"{line} --out {tmp_path / 'one'}")
    assert first.code == 0, first.err
    assert sum(encoded) > 1
    encoded.clear()
    monkeypatch.setattr(PretrainedEncoder, "_make_half", lambda self: encoded.append("the network was built again"))
    second = vsr(f"{line} --text bow --out {tmp_path / 'two'}")
    assert second.code == 0, second.err
    assert "frozen text features" in second.err
    assert encoded == []


def test_precision_of_the_features_is_recorded_and_used(vsr, workspace, eight_stories, tmp_path):
    line = f"prepare {eight_stories} --preset tiny --text bow --precision bf16 --out {tmp_path / 'out'} --json"
    answer = vsr(line)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["features"]["compute"] == "bf16"
    assert "-single-bf16" in answer.err
    answer = vsr(f"prepare {eight_stories} --preset tiny --precision fp16")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "fp16" in answer.errors[0]


def test_shards_are_merged_by_a_later_prepare(vsr, workspace, twelve_stories, tmp_path):
    line = f"prepare {twelve_stories} --preset tiny --out"
    assert vsr(f"{line} {tmp_path / 'whole'}").code == 0
    stored = 0
    for shard in ("2/3", "1/3", "3/3"):
        answer = vsr(f"{line} {tmp_path / 'out'} --shard {shard} --json")
        assert answer.code == 0, answer.err
        stored += json.loads(answer.out)["stories_stored"]
    assert stored == 12
    (mistake,) = vsr(f"train --data {tmp_path / 'out'}").errors
    assert "run the same 'vsr prepare' again" in mistake
    assert "12 stories stored already" in vsr(f"{line} {tmp_path / 'out'}").err
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/3/3", "-1/2"])
def test_invalid_shard_is_a_usage_error(vsr, workspace, twelve_stories, tmp_path, shard):
    answer = vsr(f"prepare {twelve_stories} --preset tiny --out {tmp_path / 'out'} --shard={shard}")
    assert answer.code == 2
    assert "i from 1 to n" in answer.errors[0]
    assert not (tmp_path / "out").exists()


def test_run_is_scored_on_other_data_with_other_encoders(vsr, workspace, twelve_stories, tmp_path):
    line = f"prepare {twelve_stories} --preset tiny --window sliding --split test --out {tmp_path / 'out'} --json"
    encoder = "--visual mobilenet_v2 --set visual.weights=random"
    prepared = vsr(f"{line} {encoder}")
    assert prepared.code == 0, prepared.err
    assert json.loads(prepared.out)["counts"]["windows_kept"] == {"train": 0, "validation": 0, "test": 24}
    (run,) = (workspace / "runs").iterdir()
    answer = vsr(f"evaluate --run {run} --data {tmp_path / 'out'} --metrics bleu --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert (result["split"], result["stories"], result["windows"]) == ("test", 12, 24)
    assert "splitby:test|" in result["signature"]
    assert result["data"] == str(tmp_path / "out")


@pytest.fixture
def eight_stories(write_story, tmp_path):
    for number in range(1, 9):
        write_story(tmp_path / f"mine/{number}", 5, size=(64, 32))
    return tmp_path / "mine"


def test_prepare_options_reach_the_prepared_data(vsr, workspace, eight_stories, tmp_path):
    rows = [f"{number},{'odd' if number % 2 else 'even'}" for number in range(1, 8)]
    (tmp_path / "groups.csv").write_text("\n".join(["story,group", *rows]))
    line = f"prepare {eight_stories} --preset tiny --out {tmp_path / 'out'} --json"
    answer = vsr(f"{line} --resize letterbox --split group --groups {tmp_path / 'groups.csv'}")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert (said["data"]["resize"], said["data"]["split"]) == ("letterbox", "group")
    assert said["data"]["group_csv"] == str(tmp_path / "groups.csv")
    assert said["counts"]["groups"] == 3
    assert said["counts"]["problems"] == {"no_group": 1}
    assert sorted(said["counts"]["stories_kept"].values()) == [1, 3, 4]


def test_stories_missing_in_a_split_file_are_counted(vsr, workspace, eight_stories, tmp_path):
    (tmp_path / "splits.csv").write_text("story,split\n1,test\n2,train\n3,train\n")
    files = f"--split file --set data.split_file={tmp_path / 'splits.csv'}"
    answer = vsr(f"prepare {eight_stories} --preset tiny --out {tmp_path / 'out'} --json {files}")
    assert answer.code == 0, answer.err
    counts = json.loads(answer.out)["counts"]
    assert counts["stories_kept"] == {"train": 2, "validation": 0, "test": 1}
    assert counts["stories_dropped"] == {"not_in_split_file": 5}


def test_run_is_not_scored_on_images_resized_otherwise(vsr, workspace, eight_stories, tmp_path):
    out = tmp_path / "out"
    assert vsr(f"prepare {eight_stories} --preset tiny --resize crop --out {out}").code == 0
    answer = vsr(f"evaluate --data {out} --metrics mse")
    assert answer.code == 2
    (error,) = answer.errors
    assert "by crop" in error
    assert "prepare it with --resize stretch" in error


@pytest.mark.parametrize("resize", ["letterbox", "crop"])
def test_run_with_letterbox_or_crop_evaluates_and_predicts(vsr, workspace, eight_stories, tmp_path, resize):
    draw_noise(eight_stories)
    out, run = tmp_path / "out", tmp_path / "run"
    made = vsr(f"prepare {eight_stories} --preset tiny --resize {resize} --split block --out {out}")
    assert made.code == 0, made.err
    trained = vsr(f"train --data {out} --out {run}")
    assert trained.code == 0, trained.err
    scored = vsr(f"evaluate --run {run} --metrics mse --json")
    assert scored.code == 0, scored.err
    assert f"|resize:{resize}|" in json.loads(scored.out)["signature"]
    assert "|splitby:block|" in json.loads(scored.out)["signature"]
    assert vsr(f"predict {eight_stories / '1'} --run {run}").code == 0


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("--resize squash", "'letterbox', 'crop'; it is now called stretch"),
        ("--resize stretched", "did you mean stretch?"),
        ("--split blocks", "'block'"),
        ("--split file", "data.split_file"),
        ("--split official", "the source has no splits"),
        ("--groups nowhere.csv", "nowhere.csv"),
    ],
)
def test_invalid_prepare_option_is_one_line_and_writes_nothing(vsr, workspace, eight_stories, tmp_path, line, part):
    answer = vsr(f"prepare {eight_stories} --preset tiny --out {tmp_path / 'out'} {line}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error
    assert not list(tmp_path.glob("out/**/windows.arrow"))


@pytest.mark.parametrize(
    ("line", "names"),
    [("--resize ", ["stretch", "letterbox", "crop"]), ("--split b", ["block"]), ("--split t", ["train", "test"])],
)
def test_shell_completes_prepare_options(vsr, empty, monkeypatch, line, names):
    words = f"vsr prepare {line}"
    monkeypatch.setenv("_VSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert set(vsr("").out.split()) == set(names)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "prepare --limit 2000",
            "storyworld: holds 14 stories, fewer than the limit of 2000; --set dataset.stories=2000 makes as many",
        ),
        ("prepare mine --preset tiny --limit 9", "folder: holds 3 stories, fewer than the limit of 9"),
        ("prepare mine.jsonl --preset tiny --limit 9", "jsonl: holds 3 stories, fewer than the limit of 9"),
        ("prepare mine --preset tiny --limit 2", None),
        ("prepare mine --preset tiny --limit 0", None),
    ],
)
def test_limit_above_the_number_of_stories_is_logged(workspace, vsr, write_story, tmp_path, monkeypatch, line, said):
    monkeypatch.chdir(tmp_path)
    lines = []
    for number in range(3):
        write_story(tmp_path / f"mine/{number}", 5)
        frames = [{"image": f"mine/{number}/{k}.jpg", "text": f"Ana {k}."} for k in range(1, 6)]
        lines.append(json.dumps({"id": str(number), "frames": frames}) + "\n")
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    answer = vsr(f"{line} --out out")
    assert answer.code == 0, answer.err
    assert (said in answer.err) if said else ("fewer than the limit" not in answer.err)


def draw_noise(stories):
    """Replace the images, which are of one colour each and thus all alike, which would be a leak."""
    noise = np.random.default_rng(0)
    for path in stories.rglob("*.jpg"):
        Image.fromarray(noise.integers(0, 256, (4, 8, 3), dtype=np.uint8)).resize((64, 32)).save(path)


def test_run_option_prepares_stories_as_for_the_run(vsr, workspace, eight_stories, tmp_path):
    run = next(Path("runs").iterdir())
    draw_noise(eight_stories)
    answer = vsr(f"prepare {eight_stories} --run {run}")
    assert answer.code == 0, answer.err
    folder = Path("data") / f"mine-{run.name}"
    assert answer.err.splitlines()[-1].endswith(f"next: vsr evaluate --run {run} --data {folder}")
    manifest, config = (json.loads((each).read_text()) for each in (folder / "manifest.json", run / "config.json"))
    assert manifest["counts"]["windows_kept"] == {"train": 0, "validation": 0, "test": 8}
    for section in ("visual", "text"):
        assert manifest[section] == config[section]
    same = ("image_size", "resize", "context_frames", "window", "short_stories", "markup")
    assert [manifest["data"][name] for name in same] == [config["data"][name] for name in same]
    scored = vsr(f"evaluate --run {run} --data {folder} --metrics mse --json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["windows"] == 8
    shutil.rmtree(folder)
    shutil.rmtree(run / "evaluations")


def test_run_option_refuses_options_that_the_run_decides(vsr, workspace, eight_stories, tmp_path):
    run, out = next(Path("runs").iterdir()), tmp_path / "out"
    options = "--split group --resize crop --visual tiny-cnn --preset tiny --set data.window=last --set text.length=9"
    options += " --precision bf16"
    answer = vsr(f"prepare {eight_stories} --run {run} {options} --out {out}")
    assert (answer.code, len(answer.errors), out.exists()) == (2, 7, False)
    assert all("leave this out" in error for error in answer.errors)
    assert any("--precision bf16: with --run" in error for error in answer.errors)
    answer = vsr(f"prepare {eight_stories} --run {run} --out {json.loads((run / 'run.json').read_text())['data']}")
    assert answer.code == 2
    assert "was trained on" in answer.errors[0]
    allowed = f"--limit 2 --set dataset.shuffle=1 --out {out}"
    assert "dataset folder has no option 'shuffle'" in vsr(f"prepare {eight_stories} --run {run} {allowed}").errors[0]


def test_training_on_stories_of_the_test_split_suggests_evaluate(vsr, workspace, eight_stories, tmp_path):
    answer = vsr(f"prepare {eight_stories} --preset tiny --split test --out {tmp_path / 'out'}")
    assert answer.err.splitlines()[-1].endswith(f"next: vsr evaluate --run RUN --data {tmp_path / 'out'}")


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("prepare my --shards 3 --json --limit 4", "prepare my --limit 4"),
        ("prepare --shards=3 my --launcher ray", "prepare my"),
        ("prepare my --job a=b c=d --set data.seed=1 --launcher=submitit", "prepare my --set data.seed=1"),
        ("prepare --shards 2 -- my", "prepare -- my"),
    ],
)
def test_words_of_a_shard_lack_what_distributes_it(typed, plain):
    assert words_of_shard(typed.split()) == plain.split()


@pytest.mark.slow
def test_shards_are_stored_by_processes_and_give_the_same_bytes(empty, vsr, small_presets, write_story):
    for number in range(5):
        write_story(empty / "mine" / f"story-{number}", 5)
    line = "prepare mine --preset tiny --set data.image_size=32 --set visual.size=32"
    assert vsr(f"{line} --out whole").code == 0
    answer = vsr(f"{line} --out parts --shards 2 --json")
    assert answer.code == 0, answer.err
    assert "has failed" not in answer.err
    assert json.loads(answer.out)["counts"]["stories_kept"]
    whole, parts = (
        {
            path.relative_to(empty / name): path.read_bytes()
            for path in (empty / name).rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }
        for name in ("whole", "parts")
    )
    assert whole == parts
    assert not (empty / "parts.logs").exists()


def test_failed_shard_is_stored_here(empty, vsr, monkeypatch, write_story):
    class Fails:
        def __init__(self, jobs):
            pass

        def start(self, words, log):
            log.write_text("error: the node is gone\n")
            return self

        def done(self):
            return True

    monkeypatch.setattr(engines, "LocalProcesses", Fails)
    for number in range(5):
        write_story(empty / "mine" / f"story-{number}", 5)
    answer = vsr("prepare mine --preset tiny --set data.image_size=32 --shards 2 --out data/mine")
    assert answer.code == 0
    assert "shard 1/2 has failed: the node is gone" in answer.err
    assert (empty / "data/mine/manifest.json").exists()
    assert (empty / "data/mine.logs/shard-1.log").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--shards 2 --shard 1/2",
        "--launcher ray",
        "--job a=b",
        "--shards 1",
        "--shards 2 --launcher slurm",
        "--shards 2 --job a=b",
    ],
)
def test_options_that_distribute_go_together(empty, vsr, words):
    answer = vsr(f"prepare --preset tiny {words}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert list(empty.iterdir()) == []
