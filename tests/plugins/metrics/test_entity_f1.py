import numpy as np
import pytest

from vsr_cli.api import Mention, Options, Sample
from vsr_plugins.metrics.entity_f1 import build

BLANK = np.zeros((1, 1, 3), dtype=np.uint8)


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
    sample = Sample(
        story="s",
        context_texts=(),
        predicted_text=predicted,
        reference_text="",
        predicted_image=BLANK,
        reference_image=BLANK,
        context_mentions=context,
        reference_mentions=target,
    )
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
def test_entities_are_counted_by_the_names_that_the_context_gives_them(predicted, right, named):
    # Mara and the man come again; char4 too would, had anyone told a name.
    assert counts(predicted, target=(*TARGET, mention("They", "char4"))) == [right, named, 2]


def test_scores_are_of_all_windows_together():
    metric = build(Options())
    scores = metric.combine(np.array([[1, 3, 2], [1, 1, 4]], dtype=np.float64))
    assert scores == {
        "entity-f1": pytest.approx(2 * 2 / (4 + 6)),
        "entity-f1-precision": pytest.approx(2 / 4),
        "entity-f1-recall": pytest.approx(2 / 6),
    }


def test_nothing_to_name_and_nothing_named_is_all_right():
    assert build(Options()).combine(np.zeros((1, 3)))["entity-f1"] == 1
    assert build(Options()).combine(np.array([[0.0, 1, 0]]))["entity-f1"] == 0
