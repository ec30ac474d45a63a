"""Each check finds the component that violates its contract."""

import re

import pytest

from vsr_cli.api import Component, Options
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Provided, Registry
from vsr_cli.plugin_checks.check import check

from . import broken

SHAPES = "its shapes are right for several B, K, D and image sizes"
BATCH = "a story does not depend on the rest of its batch"
FROZEN = "frozen is deterministic and independent of the batch"
UNCHANGED = "does not change its inputs"
KEY = "cache_key changes with everything that frozen depends on"
MANY = "encodes many inputs as it encodes few"
PADDING = "ignores padding"
OBJECTIVE = "uses its objective in training only"
FINDINGS = [
    (broken.WiderFusion, SHAPES, "fusion 'widerfusion' of plugin broken .*: returns joined embeddings in the wrong"),
    (
        broken.ForgottenLayer,
        "gradients reach all trained parameters",
        "2 .* get no gradient.*forgotten",
    ),
    (broken.Neighbourly, BATCH, "the steps of a story depends on the rest"),
    (broken.Unsaved, "is the same after saving and loading", "some state is not saved"),
    (broken.SingleOnly, "works in bf16", r"broken.py:\d+ raised "),
    (broken.Clumsy, SHAPES, r"broken.py:\d+ raised KeyError: 'joined'"),
    (broken.NoPair, SHAPES, "did not return steps .* and summary"),
    (broken.Divides, "reads short stories", "summary of a short story is not finite"),
    (broken.IgnoresMask, "ignores masked frames", "change the summary"),
    (broken.LooksAhead, "ignores masked frames", "change the states after real frames"),
    (broken.ForgetfulKey, KEY, "does not change with the frozen weight mix"),
    (broken.ForgetsOption, KEY, "does not change with the option grid"),
    (broken.RestlessKey, KEY, "changes with trained weights"),
    (broken.Contrasted, FROZEN, "for an input alone"),
    (broken.DropsOut, FROZEN, "other features in training mode"),
    (broken.KeepsGradient, FROZEN, "requires a gradient"),
    (broken.KeptNowhere, FROZEN, "cache_key is None, but frozen does not return its input"),
    (broken.Hurries, MANY, "other features within encoding_many"),
    (broken.Lingers, MANY, "changes the features after it"),
    (broken.ReadsPadding, PADDING, "ids outside of the mask change the embedding"),
    (broken.FitsItself, "tokenizes any text within its vocabulary", "another length for one text"),
    (broken.Remembers, "its text does not depend on a target", "depends on a target"),
    (broken.Rambles, "generates valid ids, and only padding after the end", "after the end of a text"),
    (broken.Invents, "generates valid ids, and only padding after the end", "raised IndexError"),
    (broken.SamplesGreedily, "generates valid ids, and only padding after the end", "generate_samples generates other"),
    (broken.CountsPadding, PADDING, "outside of its mask change the loss"),
    (broken.SmoothsAlways, OBJECTIVE, "label smoothing changes its loss in evaluation mode"),
    (broken.SmoothsNever, OBJECTIVE, "label smoothing does not change its loss in training"),
    (broken.Unbounded, "generates pixels within 0 and 1", "generated pixels from -"),
    (broken.LovesGrey, "its loss is smallest at the target", "the loss of the target itself is"),
    (broken.Indifferent, "learns: its loss falls", "it changed from 1.0000 to 1.0000"),
    (broken.Paints, "its image does not depend on a target", "or is random"),
    (broken.IgnoresSeed, "samples from its seed", "all seeds generate the same image"),
    (broken.Restless, "samples from its seed", "the same seed generates another image"),
    (broken.Restless, "its loss is the mean over stories", "is random"),
    (broken.Recalls, "its image does not depend on a target", "depends on a target"),
    (broken.SharesNoise, BATCH, "the image of a story depends on the rest of the batch"),
    (broken.SharesNoise, "its loss is the mean over stories", "and the mean over its stories"),
    (broken.SharesNoise, "reads any text", "depends on the rest of the batch"),
    (broken.Reseeds, SHAPES, "torch's random seed"),
    (broken.NeedsWords, "reads any text", "not finite from an empty or unusual text"),
    (broken.Wide, "generates pixels within 0 and 1", r"generated \(3, 3, 32, 31\) float32, not \(B, 3, H, W\)"),
    (broken.Shuffled, "yields the same stories again", "story 0 differs"),
    (broken.Twins, "yields valid stories", "two stories have the id 'twin'"),
    (broken.Boasts, "its survey is right", "announced 99 stories, and read yields 3"),
    (broken.Pictureless, "its images can be opened", "none of 1 opens"),
    (broken.Relative, "measures each window alone", "other statistics of a window alone"),
    (
        broken.Misnamed,
        "combines any selection of windows",
        "returned 'mse' first; the first score has",
    ),
    (
        broken.UpsideDown,
        "the truth scores no worse than other texts and images",
        "better is higher, but truth 0, shuffled 0",
    ),
    (broken.Peeks, "measures each window alone", "other statistics without images, though reads_images is False"),
    (broken.NoNumber, "measures each window alone", "not finite"),
    (broken.Blackens, UNCHANGED, r"measure changed its input \(predicted_image\)"),
    (broken.Sorts, UNCHANGED, r"combine changed its input \(statistics\)"),
    (broken.Forgets, UNCHANGED, r"read_references changed its input \(list\)"),
]


def provided(kind: type) -> Provided:
    (section,) = [section for section, kinds in broken.PARTS.items() if kind in kinds]
    options = broken.OPTIONS.get(kind, Options)
    build = f"{broken.__name__}:build_{kind.__name__}"
    component = Component(name=kind.__name__.lower(), summary="broken", build=build, options=options)
    return Provided(section, component, "broken", "broken 1.0")


def outcomes(kind: type) -> dict[str, object]:
    entry = provided(kind)
    found = Registry((*registry().provided, entry))
    return {outcome.check: outcome for outcome in check(found, entry)}


@pytest.mark.parametrize(("kind", "title", "words"), FINDINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_violated_contract_is_found(kind, title, words):
    found = outcomes(kind)
    (outcome,) = [outcome for check, outcome in found.items() if check.startswith(title)]
    assert not outcome.passed
    assert re.search(words, outcome.detail), outcome.detail
    assert "\n" not in str(outcome)


def test_every_broken_component_is_tested_and_a_valid_one_passes():
    assert {kind for kinds in broken.PARTS.values() for kind in kinds} == {kind for kind, *_ in FINDINGS} | {
        broken.Colours
    }
    assert [outcome for outcome in outcomes(broken.Colours).values() if not outcome.passed] == []
