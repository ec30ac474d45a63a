"""`vsr plugins list` and `vsr plugins show`."""

import json

import pytest

from vsr_cli import console


def test_plugins_list_has_every_kind_in_text_and_json(vsr, empty):
    listed = json.loads(vsr("plugins list --json").out)
    names = {(item["kind"], item["name"]) for item in listed["components"]}
    kinds = {"visual", "text", "fusion", "temporal", "text_decoder", "image_decoder", "dataset", "metrics"}
    assert {kind for kind, _ in names} == kinds
    assert {("temporal", "gru"), ("text_decoder", "gru"), ("visual", "resnet50"), ("metrics", "bleu")} <= names
    shown = vsr("plugins list").out
    assert all(name in shown for _, name in names)


def test_plugins_show_lists_options_with_type_and_default(vsr, empty, monkeypatch):
    monkeypatch.setattr(console.out, "_width", 120)
    shown = vsr("plugins show lstm").out
    assert "--temporal lstm" in shown
    assert "temporal.layers" in shown
    assert "integer" in shown
    assert "integer | all" in vsr("plugins show distilbert").out
    assert "cls | mean" in vsr("plugins show distilbert").out
    both = json.loads(vsr("plugins show gru --json").out)
    assert {entry["kind"] for entry in both} == {"temporal", "text_decoder"}
    assert "layers" in both[0]["options"]


def test_brackets_in_summaries_are_printed_literally(vsr, empty, monkeypatch):
    from vsr_cli.api import Component, Options
    from vsr_cli.plugin import discovery
    from vsr_cli.plugin.registry import Provided, Registry

    component = Component(name="odd", options=Options, build="x:y", summary="takes [B, K] and [/bold] as they come")
    found = Registry((Provided("temporal", component, "odd", "odd 1.0"),))
    monkeypatch.setattr(discovery, "registry", lambda: found)
    for line in ("plugins show odd", "plugins list"):
        answer = vsr(line)
        assert answer.code == 0
        assert "[B, K]" in " ".join(answer.out.split())


@pytest.mark.parametrize("word", ["text-decoder", "text-decoders", "text_decoder", "TEXT-DECODER"])
def test_plugins_list_filters_by_kind(vsr, empty, word):
    answer = vsr(f"plugins list {word}")
    assert answer.code == 0, answer.err
    assert "pointer-generator" in answer.out
    assert "resnet50" not in answer.out
    assert vsr("plugins list metrics").out == vsr("plugins list metric").out
    assert "did you mean text-decoder" in vsr("plugins list text-decodr").errors[0]
