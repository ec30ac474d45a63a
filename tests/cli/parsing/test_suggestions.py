"""Usage errors that suggest what to type."""

import pytest
from PIL import Image

OPTIONS = {
    "train --lr 3e-4": "did you mean --set training.learning_rate=3e-4?",
    "train --lr=3e-4": "did you mean --set training.learning_rate=3e-4?",
    "train -lr 3e-4": "no such option -lr; did you mean --set training.learning_rate=3e-4?",
    "train --learning-rate 0.1": "did you mean --set training.learning_rate=0.1?",
    "train --wd 0": "did you mean --set training.weight_decay=0?",
    "train --seed 1": "did you mean --set training.seed=1?",
    "train --device cpu": "did you mean --set training.device=cpu?",
    "train --gpu": "did you mean --set training.device=cuda?",
    "train --bf16": "did you mean --set training.precision=bf16 or --set features.compute=bf16?",
    "train --batch 4": "did you mean --batch-size?",
    "train --num-epochs 3": "did you mean --epochs?",
    "train -e 3": "did you mean --epochs?",
    "train --output-dir x": "did you mean --out?",
    "train --name x": "did you mean --out?",
    "train --dropout 0.1": "--set temporal.dropout=0.1",
    "train --image-size 64": "it is an option of 'vsr prepare': --set data.image_size=64",
    "train --version": "type 'vsr --version'",
    "prepare x --data y": "did you mean --out?",
    "prepare --seed 1": "did you mean --set data.seed=1?",
    "prepare --image-size 64": "did you mean --set data.image_size=64?",
    "evaluate --metric bleu": "did you mean --metrics?",
    "evaluate --beams 4": "did you mean --set decoding.beams=4?",
    "evaluate --device cpu": "it runs on the GPU where there is one",
    "predict x --top-p 0.9": "did you mean --set decoding.top_p=0.9?",
    "ablate --seed 3": "did you mean --seeds?",
    "runs list --jsn": "did you mean --json?",
    "train --set lr=3": "did you mean training.learning_rate=3?",
    "train --set training.lr=3": "did you mean learning_rate?",
    "train --set train.epochs=3": "did you mean training?",
}


COMMANDS = {
    "trian": "type 'vsr train'",
    "eval": "type 'vsr evaluate'",
    "help": "type 'vsr --help'",
    "help train": "type 'vsr train --help'",
    "version": "type 'vsr --version'",
    "lint": "type 'vsr data lint'",
    "plugins lst": "type 'vsr plugins list'",
    "nowhere/": "type 'vsr prepare nowhere/'",
    "train gru": "type 'vsr train --temporal gru' or 'vsr train --text-decoder gru'",
    "evaluate bleu": "type 'vsr evaluate --metrics bleu'",
}


@pytest.mark.parametrize(("line", "part"), [*OPTIONS.items(), *COMMANDS.items()])
def test_usage_error_suggests_what_to_type(vsr, empty, line, part):
    answer = vsr(line)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert part in answer.errors[0]
    assert not list(empty.iterdir())


def test_unknown_option_without_neighbor_has_no_suggestion(vsr, empty):
    assert vsr("train --zzz").errors == ["no such option --zzz; see 'vsr train --help'"]


@pytest.mark.parametrize("line", ["", "train", "plugins list", "data lint", "runs show"])
def test_short_help_option_equals_help(vsr, empty, line):
    short, long = vsr(f"{line} -h"), vsr(f"{line} --help")
    assert short.code == 0
    assert short.out == long.out


def test_path_in_place_of_a_command_suggests_the_command(vsr, workspace, write_story, tmp_path):
    (run,) = (workspace / "runs").iterdir()
    write_story(tmp_path / "mine/one", 5)
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.jpg")
    for line, part in {
        f"{tmp_path}/mine": f"type 'vsr prepare {tmp_path}/mine'",
        f"{tmp_path}/cat.jpg": "vsr predict STORY_DIR",
        "data/storyworld": "type 'vsr train --data data/storyworld'",
        f"runs/{run.name}": f"vsr evaluate --run runs/{run.name}",
        f"evaluate runs/{run.name}": f"type 'vsr evaluate --run runs/{run.name}'",
        f"train runs/{run.name}": f"type 'vsr train --resume runs/{run.name}'",
        "train data/storyworld": "type 'vsr train --data data/storyworld'",
        f"train {tmp_path}/mine": f"type 'vsr prepare {tmp_path}/mine' first",
    }.items():
        answer = vsr(line)
        assert answer.code == 2
        (error,) = answer.errors
        assert part in error


def test_predict_reports_missing_texts_or_images(vsr, workspace, write_story, tmp_path):
    images, texts = write_story(tmp_path / "images", 4), write_story(tmp_path / "texts", 4)
    for path in (*images.glob("*.txt"), *texts.glob("*.jpg")):
        path.unlink()
    for story, part in {
        images: "holds 4 images and no text",
        images / "1.jpg": "is one image, not a folder",
        texts: "holds no image",
    }.items():
        answer = vsr(f"predict {story}")
        assert answer.code == 2
        (error,) = answer.errors
        assert part in error
        assert "01.jpg and 01.txt" in error
