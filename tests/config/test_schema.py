"""Ranges of numeric options."""

import types
from typing import Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from vsr_cli.api import Decoding, Options
from vsr_cli.config.experiment import resolve_decoding, resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.config.schema import COMMON
from vsr_cli.errors import VsrError
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.kinds import KINDS

FOUND = registry()
TINY = preset_layer("tiny")


def kinds_of(annotation: object) -> set[object]:
    if get_origin(annotation) in (Union, types.UnionType):
        return {kind for each in get_args(annotation) for kind in kinds_of(each)}
    return {annotation}


def numeric_options() -> list[tuple[str, type[Options], str, bool]]:
    """List the numeric options of all sections and components: where, model, name, and whether it is a float."""
    models = [*COMMON.items(), ("decoding", Decoding)]
    for kind in KINDS:
        for name in FOUND.names(kind.section):
            models.append((f"{kind.section}.{name}", FOUND.find(kind.section, name).component.options))
    return [
        (section, model, name, float in kinds)
        for section, model in models
        for name, field in model.model_fields.items()
        if (kinds := kinds_of(field.annotation)) & {int, float}
    ]


NUMERIC = numeric_options()


def test_numeric_options_are_all_found():
    found = {f"{section}.{name}" for section, _, name, _ in NUMERIC}
    assert len(found) > 80
    assert {"training.learning_rate", "temporal.gru.dropout", "decoding.top_p", "dataset.storyworld.seed"} <= found


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", str(2**32), str(10**30), str(-(2**32))])
def test_numeric_options_refuse_non_finite_and_huge_values(value):
    accepted = []
    for section, model, name, is_float in NUMERIC:
        if is_float and value.lstrip("-").isdigit():
            continue  # a finite number, which the option's own bounds decide on
        try:
            model.model_validate({name: value})
        except ValidationError:
            continue
        accepted.append(f"{section}.{name}")
    assert not accepted


def test_number_of_layers_is_limited():
    """Each layer is built by itself, so that a mistyped number would neither end nor run out of memory soon."""
    models = [(section, model) for section, model, name, _ in NUMERIC if name == "layers"]
    assert len(models) >= 6
    for section, model in models:
        assert model.model_validate({"layers": 1000}).layers == 1000, section
        with pytest.raises(ValidationError):
            model.model_validate({"layers": 1001})


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_out_of_range_is_one_line_with_the_range(seed):
    with pytest.raises(VsrError) as error:
        resolve_train(FOUND, preset="tiny", layers=[TINY, *parse_set([f"training.seed={seed}"])])
    expected = f"--set training.seed={seed}: input should be between 0 and 4294967295"
    assert str(error.value).startswith(expected)
    assert len(str(error.value).splitlines()) == 1


def test_every_option_called_seed_has_the_same_range():
    seeds = [(section, model) for section, model, name, _ in NUMERIC if name == "seed"]
    assert {section for section, _ in seeds} == {"data", "training", "decoding", "dataset.storyworld"}
    for _, model in seeds:
        extra = {"method": "sample"} if model is Decoding else {}
        assert model.model_validate({"seed": 2**32 - 1, **extra}).seed == 2**32 - 1
        for seed in (-1, 2**32):
            with pytest.raises(ValidationError, match="between 0 and 4294967295"):
                model.model_validate({"seed": seed, **extra})


@pytest.mark.parametrize(
    ("assignments", "line"),
    [
        (["training.learning_rate=inf"], "--set training.learning_rate=inf: input should be a finite number"),
        (["training.weight_decay=nan"], "--set training.weight_decay=nan: input should be a finite number"),
        (
            [f"objective.{term}=0" for term in ("text", "image", "alignment")],
            "objective: all weights are 0, so nothing would be learned; set one of text,",
        ),
    ],
)
def test_unusable_training_setting_is_one_line(assignments, line):
    with pytest.raises(VsrError) as error:
        resolve_train(FOUND, preset="tiny", layers=[TINY, *parse_set(assignments)])
    (message,) = str(error.value).splitlines()
    assert message.startswith(line)


def test_shares_that_leave_no_training_data_are_refused():
    data = COMMON["data"]
    with pytest.raises(ValidationError, match="leave no story to train on"):
        data.model_validate({"validation": 0.5, "test": 0.5})
    with pytest.raises(ValidationError, match="leave no story to train on"):
        data.model_validate({"validation": 0.95})
    assert data.model_validate({"validation": 0.5, "test": 0.4}).test == 0.4


def test_invalid_sampling_seed_is_refused():
    with pytest.raises(VsrError, match="between 0 and 4294967295"):
        resolve_decoding(FOUND, parse_set(["decoding.method=sample", "decoding.seed=-1"]))
