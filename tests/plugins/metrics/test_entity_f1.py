import numpy as np
import pytest

from vsr_cli.api import Mention, Options
from vsr_plugins.metrics.entity_f1 import build

from .samples import text_sample


def mention(text, *ids, kind="object"):
    return Mention(kind=kind, ids=ids, text=text)


CONTEXT = (
    (mention("Mara", "char1"), mention("the two boxes", "obj2", "obj3"), mention("a red kite", "obj1")),
    (mention("She", "char1"), mention("They", "char4"), mention("runs", "char1", kind="action")),
    (mention("the old tall man", "char2"), mention("Mara's friend", "char2"), mention("The lighthouse", "lm1")),
)
TARGET = (
    mention("She", "char1"),
    mention("holds", "char1", kind="action"),
    mention("the man", "char2"),
    mention("a dog", "char9"),
)


def counts(predicted, context=CONTEXT, target=TARGET):
    sample = text_sample(predicted, context_mentions=context, reference_mentions=target)
    return build(Options()).measure([sample])[0].tolist()


@pytest.mark.parametrize(
    ("predicted", "right", "named"),
    [
        ("", 0, 0),
        ("She holds it.", 0, 0),  # a pronoun names nobody
        ("MARA's hat.", 1, 1),
        ("Marathon runs.", 0, 0),  # whole words; an action names nobody
        ("An old tall man waits for Mara.", 2, 2),
        ("An old man waits.", 0, 0),  # not a whole mention
        ("A friend of Mara", 1, 1),
        ("Mara friend", 2, 2),  # by any of its names
        ("Mara flies a red kite at the lighthouse.", 1, 3),
        ("The two boxes, a dog.", 0, 0),  # words of two are no name of one; what is new does not count
    ],
)
def test_entities_are_counted_by_their_names_in_the_context(predicted, right, named):
    # Mara and the man come again; char4 too would, if the context named them.
    assert counts(predicted, target=(*TARGET, mention("They", "char4"))) == [right, named, 2]


def test_scores_are_micro_averages():
    metric = build(Options())
    scores = metric.combine(np.array([[1, 3, 2], [1, 1, 4]], dtype=np.float64))
    assert scores == {
        "entity-f1": pytest.approx(2 * 2 / (4 + 6)),
        "entity-f1-precision": pytest.approx(2 / 4),
        "entity-f1-recall": pytest.approx(2 / 6),
    }


def test_no_entities_and_none_predicted_scores_1():
    assert build(Options()).combine(np.zeros((1, 3)))["entity-f1"] == 1
    assert build(Options()).combine(np.array([[0.0, 1, 0]]))["entity-f1"] == 0
