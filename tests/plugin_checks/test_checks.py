"""Each check finds the component that breaks the promise it is about, and says so in words."""

import re

import pytest

from vsr_cli.api import Component, Options
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Provided, Registry
from vsr_cli.plugin_checks.check import check

from . import broken

SHAPES = "gives its shapes, for several B, K, D and image sizes"
COMPANY = "reads a story alike in any company"
FROZEN = "frozen gives the same for one input, always"
UNCHANGED = "leaves what it reads as it was"
KEY = "cache_key tells apart what frozen gives"
PADDING = "padding changes nothing"
OBJECTIVE = "heeds its objective in training, and only there"
FINDINGS = [
    (broken.WiderFusion, SHAPES, "fusion 'widerfusion' of plugin broken .*: gives joined embeddings in the wrong"),
    (broken.ForgottenLayer, "gradients reach all that trains", "none reaches 2 parameters .*forgotten"),
    (broken.Neighbourly, COMPANY, "the steps of a story depends on the rest"),
    (broken.Unsaved, "is the same once saved and read back", "something is not saved"),
    (broken.SingleOnly, "computes in bf16 too", r"broken.py:\d+ raised "),
    (broken.Clumsy, SHAPES, r"broken.py:\d+ raised KeyError: 'joined'"),
    (broken.NoPair, SHAPES, "no pair of steps .* and summary"),
    (broken.Divides, "reads stories that are filled up with repeats", "summary is no number"),
    (broken.IgnoresMask, "heeds its mask", "change the summary"),
    (broken.LooksAhead, "heeds its mask", "change the states after real frames"),
    (broken.ForgetfulKey, KEY, "does not change with the frozen weight mix"),
    (broken.ForgetsOption, KEY, "does not change with the option grid"),
    (broken.RestlessKey, KEY, "changes with weights that train"),
    (broken.Contrasted, FROZEN, "for an input by itself"),
    (broken.DropsOut, FROZEN, "something else in training"),
    (broken.KeepsGradient, FROZEN, "asks for a gradient"),
    (broken.KeptNowhere, FROZEN, "cache_key is None, yet frozen gives something else"),
    (broken.ReadsPadding, PADDING, "ids beyond the mask change the embedding"),
    (broken.FitsItself, "tokenizes any text within its vocabulary", "another length for one text"),
    (broken.Remembers, "writes the same whatever target it has seen", "depends on a target"),
    (broken.Rambles, "writes ids of its own, and only padding after the end", "after the end of a text"),
    (broken.Invents, "writes ids of its own, and only padding after the end", "raised IndexError"),
    (broken.CountsPadding, PADDING, "beyond its mask change the loss"),
    (broken.SmoothsAlways, OBJECTIVE, "label smoothing changes its loss in use"),
    (broken.SmoothsNever, OBJECTIVE, "label smoothing does not change its loss in training"),
    (broken.Unbounded, "draws within 0 and 1", "drew pixels from -"),
    (broken.LovesGrey, "its loss is least at the target", "the target itself costs"),
    (broken.Indifferent, "learns: its loss falls", "it went from 1.0000 to 1.0000"),
    (broken.Paints, "draws the same whatever target it has seen", "or on chance"),
    (broken.Shuffled, "gives the same again", "number 0 is another"),
    (broken.Twins, "gives valid stories", "two stories have the id 'twin'"),
    (broken.Boasts, "surveys what it reads", "announced 99 stories, and read gives 3"),
    (broken.Pictureless, "its pictures can be opened", "none of 1 opens"),
    (broken.Relative, "measures each window from itself alone", "other numbers by itself"),
    (broken.Misnamed, "combines any selection of windows", "gave 'mse' first; the headline has the metric's own name"),
    (
        broken.UpsideDown,
        "the truth scores no worse than a wrong answer",
        "better higher, but truth 0, shuffled 0",
    ),
    (broken.NoNumber, "measures each window from itself alone", "no numbers"),
    (broken.Blackens, UNCHANGED, "measure changed the predicted_image that it was given"),
    (broken.Sorts, UNCHANGED, "combine changed the statistics that it was given"),
    (broken.Forgets, UNCHANGED, "read_references changed the list that it was given"),
]


def provided(kind: type) -> Provided:
    (section,) = [section for section, kinds in broken.PARTS.items() if kind in kinds]
    options = broken.OPTIONS.get(kind, Options)
    place = f"{broken.__name__}:build_{kind.__name__}"
    component = Component(name=kind.__name__.lower(), summary="broken", build=place, options=options)
    return Provided(section, component, "broken", "broken 1.0")


def outcomes(kind: type) -> dict[str, object]:
    entry = provided(kind)
    found = Registry((*registry().provided, entry))
    return {outcome.check: outcome for outcome in check(found, entry)}


@pytest.mark.parametrize(("kind", "title", "words"), FINDINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_found(kind, title, words):
    found = outcomes(kind)
    (outcome,) = [outcome for check, outcome in found.items() if check.startswith(title)]
    assert not outcome.passed
    assert re.search(words, outcome.detail), outcome.detail
    assert "\n" not in str(outcome)


def test_every_broken_component_is_looked_at_and_a_sound_one_passes():
    assert {kind for kinds in broken.PARTS.values() for kind in kinds} == {kind for kind, *_ in FINDINGS} | {
        broken.Colours
    }
    assert [outcome for outcome in outcomes(broken.Colours).values() if not outcome.passed] == []
