"""Configuration: precedence of layers, options of components, and complete error reports."""

import contextlib
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.config.experiment import TrainConfig, resolve_metrics, resolve_recorded, resolve_train
from vsr_cli.config.presets import preset_names
from vsr_cli.config.resolve import Layer, parse_set, preset_layer, read_config_file
from vsr_cli.errors import VsrError
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.settings import flag_layers, metric_names, train_config

FOUND = registry()
TINY = preset_layer("tiny")
# What a prepared folder's manifest says of its encoders.
MANIFEST = {
    "preset": "tiny",
    "visual": {"name": "tiny-cnn", "size": 48},
    "text": {"name": "tiny-text", "vocabulary_size": 777},
    "features": {"precision": "half", "limit": 3.0},
}


def resolve(*assignments: str, flags=None, manifest=None, preset="tiny", config=None) -> TrainConfig:
    return train_config(
        FOUND, manifest=manifest, preset=preset, config=config, flags=flags or {}, assignments=assignments
    )


def mistakes(*assignments: str, **words) -> list[str]:
    with pytest.raises(VsrError) as error:
        resolve(*assignments, **words)
    return str(error.value).splitlines()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_complete_configuration(name):
    assert resolve(preset=name).preset == name


def test_each_layer_overrides_the_one_before(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[visual]\nsize = 80\n[training]\nepochs = 3\nbatch_size = 5\n")
    assert resolve().parts["visual"].options.size not in (80, 48)
    assert resolve(preset=None, manifest=MANIFEST).parts["visual"].options.size == 48
    assert resolve(preset=None, manifest=MANIFEST).features.precision == "half"
    everything = resolve(
        "training.epochs=9",
        preset=None,
        manifest=MANIFEST,
        config=file,
        flags={"training.epochs": 7, "training.batch_size": 6},
    )
    assert everything.preset == "tiny"
    assert everything.parts["text"].options.vocabulary_size == 777
    assert everything.parts["visual"].options.size == 80
    assert everything.training.batch_size == 6
    assert everything.training.epochs == 9


def test_named_preset_overrides_the_data_s_encoders():
    assert resolve(manifest=MANIFEST, preset="tiny").parts["visual"].options.size != 48
    assert resolve(manifest=MANIFEST, preset="reference").parts["visual"].name == "resnet50"


def test_options_are_dropped_with_their_component():
    other = resolve("temporal.layers=2", "temporal.name=lstm")
    assert (other.parts["temporal"].name, other.parts["temporal"].options.layers) == ("lstm", 1)
    same = resolve("temporal.layers=2", "temporal.name=gru")
    assert same.parts["temporal"].options.layers == 2
    after = resolve("temporal.name=lstm", "temporal.layers=2")
    assert after.parts["temporal"].options.layers == 2
    assert resolve("visual.size=112", flags={"visual.name": "tiny-cnn"}).parts["visual"].options.size == 112


@pytest.mark.parametrize("form", ["json", "toml"])
def test_config_show_output_round_trips(tmp_path, form):
    first = resolve("temporal.layers=2", "training.learning_rate=0.5", flags={"temporal.name": "lstm"})
    file = tmp_path / f"mine.{form}"
    record = first.record()
    if form == "json":
        file.write_text(json.dumps(record))
    else:
        lines = [f'preset = "{record.pop("preset")}"']
        for section, values in record.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        file.write_text("\n".join(lines))
    again = resolve(preset=None, config=file)
    assert again == first
    assert again.preset == "tiny"
    assert resolve_recorded(FOUND, first.record(), where="config.json", distributions=()) == first


def test_errors_of_all_layers_are_reported_with_their_source(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nbatch_size = 'four'\n[fusion]\nname = 'cat'\n[trainin]\nx = 1\n")
    lines = mistakes("temporal.layer=2", "nonsense", "training.epochs=0", config=file, flags={"visual.name": "tiny-cn"})
    assert len(lines) == 7
    message = "\n".join(lines)
    for part in (
        f"--config {file}: training.batch_size: input should be a valid integer",
        "fusion 'cat': there is none of this name",
        f"--config {file}: section 'trainin': unknown; did you mean training",
        "--set temporal.layer=2: temporal model gru has no option 'layer'; did you mean layers?",
        "--set nonsense: not of the form section.key=value",
        "--set training.epochs=0: input should be greater than or equal to 1 (given: '0')",
        "visual encoder 'tiny-cn': there is none of this name; did you mean tiny-cnn?",
    ):
        assert part in message


@pytest.mark.parametrize("name", ["mine.toml", "mine.json", "mine.conf"])
@pytest.mark.parametrize(
    "content",
    [
        *(b"= [", b"\xff\xfe=", b"\xff\xfd", b'"words"', b"3 = 4", b"a = " + b"[" * 100_000),
        *(gzip.compress(b"[training]", mtime=0)[:cut] for cut in (5, 15)),
        gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20,
    ],
    ids=range(9),
)
def test_invalid_config_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (line,) = mistakes(preset=None, config=tmp_path / name)
    assert line.startswith(f"--config {tmp_path / name}: ")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "text"), [("m.toml", "[training]\nepochs = 7\n"), ("m.json", '{"training": {"epochs": 7}}')]
)
def test_config_file_may_have_a_byte_order_mark(tmp_path, encoding, name, text):
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_config_file(tmp_path / name).values == {"training": {"epochs": 7}}


@pytest.mark.parametrize("preset", ['"tny"', "3", "[1]"])
def test_unknown_preset_in_a_config_file_is_one_line(tmp_path, preset):
    file = tmp_path / "mine.toml"
    file.write_text(f"preset = {preset}\n")
    (line,) = mistakes(preset=None, config=file)
    assert line.startswith(f"--config {file}: preset ")


def test_missing_config_file_or_folder_is_one_line(tmp_path):
    assert "there is no such file" in mistakes(config=tmp_path / "nowhere.toml")[0]
    assert "not readable as TOML" in mistakes(config=tmp_path)[0]


def test_config_file_may_have_sections_of_other_commands(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[dataset]\nname = 'storyworld'\n[data]\nimage_size = 64\n")
    resolve(config=file)
    (line,) = mistakes("data.image_size=64")
    assert "this command does not use it" in line


def test_set_parses_strings_numbers_null_lists_and_dashes():
    layers = parse_set(["text-decoder.hidden=null", "a.b=[1, 2]", "a.c=x=y", "metrics.bleu.max-order=2", "a.d=[oh"])
    assert [dict(layer.values) for layer in layers] == [
        {"text_decoder": {"hidden": None}},
        {"a": {"b": [1, 2]}},
        {"a": {"c": "x=y"}},
        {"metrics.bleu": {"max_order": "2"}},
        {"a": {"d": "[oh"}},
    ]
    assert resolve("training.learning_rate=1e-2", "text_decoder.hidden=24").training.learning_rate == 0.01


@given(st.text(max_size=30))
def test_set_errors_are_always_one_line(text):
    with contextlib.suppress(VsrError):
        resolve_train(FOUND, preset="tiny", layers=[TINY, *parse_set([text])])


def test_omitted_options_are_no_layers():
    layers = flag_layers({"text_decoder.name": "gru", "training.batch_size": 4, "training.epochs": None})
    assert layers == [
        Layer("--text-decoder gru", {"text_decoder": {"name": "gru"}}),
        Layer("--batch-size 4", {"training": {"batch_size": 4}}),
    ]


def test_metric_errors_are_reported_together():
    names = metric_names(FOUND, ["bleu,rouge", "bleu", " meteor ,"])
    assert names == ["bleu", "bleu-lower", "rouge", "meteor"]
    choices = resolve_metrics(FOUND, names, parse_set(["metrics.bleu.smooth=floor", "metrics.bleu-lower.smooth=none"]))
    assert [choice.name for choice in choices] == names
    assert [choice.options.smooth for choice in choices[:2]] == ["floor", "none"]
    with pytest.raises(VsrError) as error:
        resolve_metrics(FOUND, ["blue", "rouge"], parse_set(["metrics.rouge.stem=1", "metrics.meteor.alpha=1"]))
    assert len(str(error.value).splitlines()) == 3


def test_preset_in_a_config_file_is_no_section(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"preset": "tiny", "training": {"epochs": 2}}')
    assert read_config_file(file).values == {"training": {"epochs": 2}}
