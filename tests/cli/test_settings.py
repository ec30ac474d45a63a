"""Presets: which one a command uses, and that it is logged."""

import json

import pytest

from vsr_cli.config.presets import preset_facts, preset_names
from vsr_cli.workflows.settings import default_preset


def test_every_preset_has_summary_download_and_machine(vsr, empty):
    facts = [preset_facts(name) for name in preset_names()]
    assert [each.name for each in facts] == preset_names()
    assert all(each.summary and each.download and each.machine for each in facts)
    shown = " ".join(vsr("presets").out.split())
    records = json.loads(vsr("presets --json").out)
    assert [record["name"] for record in records] == preset_names()
    for record in records:
        assert record["name"] in shown


@pytest.mark.parametrize(
    ("dataset", "preset"),
    [
        ("storyworld", "tiny"),
        ("story-reasoning", "reference"),
        *((name, "laptop") for name in ("folder", "jsonl", "csv", "vist", "hf", "someone-elses")),
    ],
)
def test_each_dataset_has_a_default_preset(dataset, preset):
    assert default_preset(dataset)[0] == preset


def test_prepare_reports_the_preset_that_it_takes_unless_one_is_named(vsr, empty, write_story):
    write_story(empty / "mine/one", 5)
    parts = "--visual tiny-cnn --text tiny-text --set data.image_size=32 --out out"
    default, named = vsr(f"prepare mine {parts}"), vsr(f"prepare mine {parts} --preset laptop")
    assert default.code == named.code == 0, default.err + named.err
    assert "preset laptop, the default for stories of your own" in default.err
    assert "vsr presets" in default.err
    assert "preset laptop" not in named.err
    assert json.loads((empty / "out/manifest.json").read_text())["preset"] == "laptop"


@pytest.mark.parametrize("line", ["train --preset reference", "ablate --preset laptop", "train --config mine.toml"])
def test_preset_without_prepared_data_is_refused(vsr, empty, line):
    (empty / "mine.toml").write_text('preset = "strong"\n')
    answer = vsr(line)
    assert answer.code == 2
    (error,) = answer.errors
    assert "nothing is prepared" in error
    assert "vsr prepare MY_STORIES/ --preset" in error
    assert [path.name for path in empty.iterdir()] == ["mine.toml"]


def test_config_file_without_preset_uses_the_tiny_preset(vsr, empty):
    (empty / "mine.toml").write_text("[training]\nepochs = 3\n")
    assert json.loads(vsr("config show --config mine.toml").out)["preset"] == "tiny"


def test_train_reports_a_preset_other_than_the_data_s(vsr, workspace, tmp_path):
    parts = "--visual tiny-cnn --text tiny-text --text-decoder repeat-context"
    answer = vsr(f"train --preset laptop {parts} --epochs 1 --out {tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    assert "preset laptop, on data prepared with preset tiny: images stay 32x32 pixels" in answer.err


def test_config_show_needs_no_data(vsr, empty):
    settings = json.loads(vsr("config show --preset reference").out)
    assert settings["preset"] == "reference"
    assert settings["visual"]["name"] == "resnet50"
    assert not list(empty.iterdir())
