"""`vsr predict` on the run that `vsr train` made."""

import json
import re
import shutil
from pathlib import Path

from PIL import Image

from vsr_cli.data.prepared import open_prepared

PREDICTION_KEYS = ["story", "context", "text", "copied", "image", "run", "decoding"]


def test_predict_prints_text_and_writes_images_and_json(workspace, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story_dir", 4)
    answer = vsr(f"predict {story}/")
    assert answer.code == 0, answer.err
    (run,) = (workspace / "runs").iterdir()
    folder = run / "predictions/story_dir"
    record = json.loads((folder / "prediction.json").read_text())
    assert answer.out.splitlines()[0] == "story_dir"
    assert (record["text"] or "(the model wrote no word)") in answer.out
    assert f"{record['copied']['context-overlap-4']:.0%} of its 4-grams stand in the context" in answer.out
    assert Image.open(folder / "image.png").size == (48, 32)
    Image.open(folder / "storyboard.png").load()
    assert sorted(path.name for path in folder.iterdir()) == ["image.png", "prediction.json", "storyboard.png"]


def test_predict_json_prints_one_object_per_story(workspace, vsr, write_story, tmp_path):
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


def test_predict_records_its_decoding(workspace, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)

    def predicted(words):
        answer = vsr(f"predict {story} --json --out {tmp_path / 'next'} {words}")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    plain, sampled, other = (
        predicted(""),
        predicted("--decoding sample"),
        predicted("--decoding sample --set decoding.seed=1"),
    )
    assert plain["decoding"] == {"method": "greedy", "no_repeat_ngram": 0}
    assert sampled["decoding"]["seed"] == 0
    assert other["decoding"]["seed"] == 1
    assert len({plain["text"], sampled["text"], other["text"]}) == 3
    folders = [Path(record["image"]).parent for record in (plain, sampled, other)]
    assert folders == [tmp_path / "next/story" / name for name in ("", "sample", "sample-seed1")]
    assert json.loads((folders[0] / "prediction.json").read_text()) == plain
    assert predicted("--decoding sample") == sampled


def test_predict_shows_alternatives_side_by_side(workspace, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)
    words = f"predict {story} --out {tmp_path / 'next'} --decoding sample --seed 3"
    plain, answer, shown = (
        vsr(f"{words}{more}") for more in (" --json", " --alternatives 3 --json", " --alternatives 3")
    )
    assert [each.code for each in (plain, answer, shown)] == [0, 0, 0], answer.err
    record, first = json.loads(answer.out), json.loads(plain.out)
    assert list(record) == [*PREDICTION_KEYS, "alternatives", "storyboard"]
    texts = [each["text"] for each in record["alternatives"]]
    assert texts[0] == record["text"] == first["text"]
    assert len(set(texts)) == 3
    assert record["alternatives"][0]["seed"] == record["decoding"]["seed"] == 3
    images = [tmp_path / f"next/story/alternatives-sample-seed3/image-{number}.png" for number in (1, 2, 3)]
    assert [each["image"] for each in record["alternatives"]] == [str(path) for path in images]
    assert images[0].read_bytes() == (tmp_path / "next/story/sample-seed3/image.png").read_bytes()
    assert Image.open(record["storyboard"]).width > 4 * 300
    assert all(f"{number}. {text}" in shown.out for number, text in enumerate(texts, start=1) if text)


def test_alternatives_without_anything_random_are_refused(workspace, vsr, write_story, tmp_path):
    answer = vsr(f"predict {write_story(tmp_path / 'story', 4)} --out {tmp_path / 'next'} --alternatives 2")
    assert answer.code == 2
    assert answer.errors == [
        "--alternatives 2: neither the text (greedy decoding by gru) nor the image (deconv) is random, so all would be "
        "the same; add --decoding sample, or name a run whose image decoder generates from a seed"
    ]
    assert not (tmp_path / "next").exists()


def test_an_image_and_a_text_that_are_those_of_the_context(workspace, vsr, write_story, tmp_path):
    story, run = write_story(tmp_path / "story", 4), tmp_path / "run"
    trained = vsr(f"train --image-decoder repeat-context --out {run}")
    plain, shown = (vsr(f"predict {story} --run {run}{more}") for more in ("", " --decoding sample --alternatives 2"))
    assert [each.code for each in (trained, plain, shown)] == [0, 0, 0], shown.err
    for each in (trained, plain, shown):
        assert "note: the image decoder repeat-context generates no image" in each.err
        assert "warning: the image decoder" not in each.err
    assert re.search(r"context.*; its image is that of frame [1-4]$", plain.out, re.M)
    assert shown.out.count("that of frame") == 1
    assert re.search(r"^  copied      the image of each is that of frame [1-4]$", shown.out, re.M)

    trained = vsr(f"train --image-decoder repeat-context --text-decoder repeat-context --out {tmp_path / 'both'}")
    assert trained.code == 0, trained.err
    answer = vsr(f"predict {story} --run {tmp_path / 'both'} --decoding sample --alternatives 2")
    (error,) = answer.errors
    assert error.endswith(
        "all would be the same; name a run whose text decoder writes texts of its own, or whose image decoder "
        "generates from a seed"
    )


def test_predict_from_an_earlier_frame_sees_none_after_it(workspace, vsr, write_story, tmp_path):
    long, short = write_story(tmp_path / "long/story", 6), write_story(tmp_path / "short/story", 4)
    one, two = (
        json.loads(vsr(f"predict {words} --json --out {tmp_path / 'next'}").out)
        for words in (f"{long} --from 4", str(short))
    )
    assert one["image"] == str(tmp_path / "next/story/from-4/image.png")
    assert Path(one["image"]).read_bytes() == Path(two["image"]).read_bytes()
    assert (one["text"], [frame["frame"] for frame in one["context"]]) == (two["text"], [1, 2, 3, 4])
    refused = vsr(f"predict {short} --from 5 --out {tmp_path / 'none'}")
    assert (refused.code, refused.errors) == (2, ["story: has no frame 5 to go on from; name one from 1 to 4"])
    assert not (tmp_path / "none").exists()


def test_stories_unlike_all_training_stories_are_named_in_one_line(workspace, vsr, write_story, tmp_path):
    (run,) = (workspace / "runs").iterdir()
    story = write_story(tmp_path / "ana", 4)
    why = "no story that the run {} was trained on, so expect little sense; train on such stories with 'vsr prepare"
    for command in (f"predict {story}", f"continue {story} --steps 1"):
        answer = vsr(f"{command} --out {tmp_path / 'next'}")
        assert answer.code == 0, answer.err
        (line,) = [line for line in answer.err.splitlines() if "was trained on" in line]
        assert line.startswith("warning: ana: 88% of its words are in " + why.format(run.name))
    like = write_story(tmp_path / "like", 4)
    for number, text in enumerate(open_prepared(workspace / "data/storyworld").training_texts()[:4], start=1):
        (like / f"{number}.txt").write_text(text)
    assert "was trained on" not in vsr(f"predict {like} --out {tmp_path / 'next'}").err
    both = vsr(f"predict {story} {like} {write_story(tmp_path / 'ben', 2)} --out {tmp_path / 'next'}")
    assert "warning: 2 of 3 stories (ana, ben): most of their words are in no story that " in both.err


def test_predict_is_deterministic(workspace, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)
    for out in ("one", "two"):
        assert vsr(f"predict {story} --out {tmp_path / out}").code == 0
    for name in ("image.png", "storyboard.png"):
        assert (tmp_path / "one/story" / name).read_bytes() == (tmp_path / "two/story" / name).read_bytes()


def test_predict_needs_only_the_run(workspace, vsr, write_story, tmp_path, monkeypatch):
    (run,) = (workspace / "runs").iterdir()
    shutil.copytree(run, tmp_path / "elsewhere/mine")
    story = write_story(tmp_path / "story", 4)
    monkeypatch.chdir(tmp_path / "elsewhere")
    answer = vsr(f"predict {story} --run mine --json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["run"] == "mine"
