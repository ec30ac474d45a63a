"""Prepare, train, evaluate and predict with context lengths other than 4."""

import json
import shlex

import pytest

from vsr_cli.data.prepared import open_prepared


@pytest.mark.parametrize("context_frames", [1, 6])
def test_every_command_works_with_another_context_length(
    context_frames, vsr, write_story, small_settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    sizes = "--set dataset.stories=12 --set dataset.width=96 --set dataset.height=48 --set data.image_size=32"
    frames = f"--set data.context_frames={context_frames} --set data.window=sliding"
    answer = vsr(f"prepare --dataset storyworld --preset tiny {sizes} {frames} --out data/other")
    assert answer.code == 0, answer.err
    prepared = open_prepared(tmp_path / "data/other")
    assert prepared.context_frames == context_frames
    assert prepared.windows("train").image_rows.shape[1] == context_frames + 1

    settings = " ".join(f"--set {shlex.quote(setting)}" for setting in small_settings)
    answer = vsr(f"train --data data/other {settings} --set training.epochs=1 --out runs/other")
    assert answer.code == 0, answer.err
    answer = vsr("evaluate --run runs/other --metrics bleu ssim --json")
    assert answer.code == 0, answer.err
    first = json.loads((tmp_path / "runs/other/evaluations/test/predictions.jsonl").read_text().splitlines()[0])
    assert len(first["context"]) == context_frames
    answer = vsr(f"predict {write_story(tmp_path / 'story', 7)} --run runs/other --json")
    assert answer.code == 0, answer.err
    context = [frame["frame"] for frame in json.loads(answer.out)["context"]]
    assert context == list(range(8 - context_frames, 8))
    assert f"the last {context_frames} of them are the context" in answer.err

    answer = vsr(f"prepare --dataset storyworld --preset tiny {sizes} --out data/four")
    assert answer.code == 0, answer.err
    answer = vsr("evaluate --run runs/other --data data/four --metrics bleu")
    assert answer.code == 2
    assert "prepared with context_frames=4" in answer.errors[0]
    assert f"--set data.context_frames={context_frames}" in answer.errors[0]
