"""Missing weights and packages are reported together before anything is written."""

import os

import pytest

from ..folders import names_in

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
    "train --text-decoder vlm": ["HuggingFaceTB/SmolVLM-256M-Instruct (513 MB)"],
    "train --visual resnet50 --text distilbert --text-decoder lm": ["resnet50", "distilbert", "SmolLM2-135M (269 MB)"],
    "train --image-decoder diffusion --set image_decoder.model=some/sd --visual hf-vision": ["dinov2-small", "some/sd"],
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
def test_missing_requirements_are_reported_together(nothing_cached, monkeypatch, vsr, write_story, line):
    work = nothing_cached / "work"
    write_story(work / "mine/one", 5)
    (work / "empty").mkdir()
    monkeypatch.chdir(work)
    before = names_in(work)
    answer = vsr(line)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.errors) == len(REFUSED[line])
    for part in REFUSED[line]:
        assert [error for error in answer.errors if part in error], part
    assert names_in(work) == before
    assert not (nothing_cached / "torch").exists()


def test_missing_weights_are_named_with_size_path_and_option(nothing_cached, monkeypatch, vsr):
    monkeypatch.chdir(nothing_cached)
    visual, text = vsr("prepare --preset reference").errors
    path = nothing_cached / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    assert visual.startswith("visual encoder resnet50: the ImageNet weights resnet50-11ad3fa6.pth (103 MB): ")
    for part in ("HF_HUB_OFFLINE", f"put that file at {path}", "--set visual.weights=FILE"):
        assert part in visual
    for part in ("text encoder distilbert: ", "HF_HUB_OFFLINE", "--set text.model=FOLDER", "HF_HOME"):
        assert part in text


@pytest.mark.parametrize("line", ["prepare --preset reference", "prepare --preset laptop"])
def test_missing_preset_weights_are_reported_without_torch(nothing_cached, line):
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
