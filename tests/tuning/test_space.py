"""The space of a search."""

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.tuning.space import Dimension, assignments, distributions, parse_space, probes


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("training.learning_rate=1e-4..1e-2:log", {"low": 1e-4, "high": 1e-2, "log": True}),
        ("training.batch_size=2..64:int", {"low": 2, "high": 64, "whole": True}),
        ("training.batch_size=2..64:int:log", {"low": 2, "high": 64, "whole": True, "log": True}),
        ("objective.l1=.5..1.5", {"low": 0.5, "high": 1.5}),
        ("objective.l1=-1.5..-.5", {"low": -1.5, "high": -0.5}),
        ("model.width=128, 256,128", {"values": ("128", "256")}),
        ("text-decoder.dropout=0..0.5", {"setting": "text_decoder.dropout", "low": 0, "high": 0.5}),
    ],
)
def test_ranges_and_lists(word, expected):
    (found,) = parse_space([word])
    assert found == Dimension(**{"setting": word.partition("=")[0], **expected})


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("model.width", "not of the form"),
        ("width=1,2", "not of the form"),
        ("model.width=", "not of the form"),
        ("modle.width=1,2", "did you mean model?"),
        ("model.width=128", "--set model.width=128"),
        ("training.learning_rate=1e-2..1e-4", "from a smaller number"),
        ("training.learning_rate=a..b", "are numbers"),
        ("training.learning_rate=1..2..3", "are numbers"),
        ("training.learning_rate=0..nan", "smaller number"),
        ("training.learning_rate=0..1:log", "begins above 0"),
        ("training.learning_rate=1..2:loq", "'loq' is unknown"),
        ("training.batch_size=1.5..4:int", "whole"),
        ("training.seed=1,2", "a seed is not a setting to choose"),
        ("training.best_metric=loss,text", "what the search minimizes"),
        ("decoding.beams=1..4", "does not change the validation loss"),
    ],
)
def test_malformed_dimension_is_one_line(word, part):
    with pytest.raises(VsrError) as error:
        parse_space([word])
    (line,) = error.value.lines
    assert line.startswith(f"--search {word}:")
    assert part in line


def test_all_mistakes_are_reported_together():
    with pytest.raises(VsrError) as error:
        parse_space(["model.width", "modle.width=1,2", "model.width=1,2", "model.width=3,4"])
    assert len(error.value.lines) == 3


def test_components_come_before_their_options():
    space = parse_space(["temporal.layers=1..3:int", "temporal.name=gru,lstm"])
    chosen = {"temporal.layers": 2, "temporal.name": "lstm"}
    assert assignments(space, chosen) == ["temporal.name=lstm", "temporal.layers=2"]


def test_probes_have_every_end_and_value():
    space = parse_space(["temporal.layers=1..3:int", "temporal.name=gru,lstm", "training.learning_rate=1e-4..1e-2:log"])
    seen = {(name, value) for probe in probes(space) for name, value in probe.items()}
    assert seen == {
        ("temporal.layers", "1"),
        ("temporal.layers", "3"),
        ("temporal.name", "gru"),
        ("temporal.name", "lstm"),
        ("training.learning_rate", "0.0001"),
        ("training.learning_rate", "0.01"),
    }


def test_space_as_optuna_has_it():
    found = distributions(
        parse_space(["temporal.layers=1..3:int", "model.width=8,16", "training.learning_rate=1e-4..1:log"])
    )
    assert (found["temporal.layers"].low, found["temporal.layers"].high) == (1, 3)
    assert found["model.width"].choices == ("8", "16")
    assert found["training.learning_rate"].log
