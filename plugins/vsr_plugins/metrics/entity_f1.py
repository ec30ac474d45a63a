"""Entity F1: the context's people, things and places that a prediction mentions, compared with those that recur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample, micro_f1, split_words

DETERMINERS = frozenset(split_words("the a an this that these those my your his her its our their another"))
PRONOUNS = frozenset(
    split_words(
        "i me mine myself you yours yourself yourselves he him his himself she her hers herself it its itself "
        "we us ours ourselves they them their theirs themselves who whom whose this that these those "
        "one ones other others each both all some someone everyone nobody"
    )
)


class EntityF1:
    """Micro F1 over all windows of mentioning the entities of the context that recur in the target.

    An entity of the context is relevant if the target mentions it, in any words. It counts as mentioned if the
    prediction contains one of its names in the context: the words of a mention of this entity alone, without
    articles, possessives and case. Pronouns are not names: an entity without other mentions does not count, nor do
    entities that are new in the target. The target itself may use pronouns, so the upper bound may be below 1. The
    statistics (n, 3): the numbers of correctly mentioned, mentioned, and relevant entities.
    """

    scale = "0-1, higher is better"
    better: Literal["higher"] = "higher"
    signature = "names:of-the-context|match:words-lc|pronouns:no|actions:no|agg:micro"
    reads_mentions = True

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the three counts of each window, (n, 3)."""
        return np.array([_counts(sample) for sample in samples], dtype=np.float64).reshape(-1, 3)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return F1, precision and recall; 1 if no entity is relevant and none is mentioned."""
        assert len(statistics), "no score without a window"
        return micro_f1("entity-f1", statistics)


def _counts(sample: Sample) -> tuple[int, int, int]:
    names: dict[str, set[str]] = {}
    for frame in sample.context_mentions:
        for mention in frame:
            name = _name(mention.text)
            # A mention of several entities is no name of one, and actions are not names.
            if name and len(mention.ids) == 1 and mention.kind != "action":
                names.setdefault(mention.ids[0], set()).add(name)
    recurring = {name for mention in sample.reference_mentions for name in mention.ids}
    written = f" {_words(sample.predicted_text)} "
    named = {entity for entity, called in names.items() if any(f" {name} " in written for name in called)}
    wanted = names.keys() & recurring
    return len(named & wanted), len(named), len(wanted)


def _name(text: str) -> str:
    words = _words(text).split()
    while words and words[0] in DETERMINERS:
        words = words[1:]
    return "" if all(word in PRONOUNS for word in words) else " ".join(words)


def _words(text: str) -> str:
    return " ".join(split_words(text.casefold().replace("'s", "").replace("'", " ")))


def build(options: Options) -> Metric:
    """Build the metric."""
    return EntityF1()
