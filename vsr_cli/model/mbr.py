"""Minimum Bayes risk decoding: of several sampled texts, select the one that is most similar to the others on average.

The sampling-based method of Eikema and Aziz (2020), "Is MAP Decoding All You Need? The Inadequacy of the Mode in Neural
Machine Translation": the samples are both the candidates and, as an estimate of what the next text may be, the
references. The texts of the context are further references here, because names and refrains recur in a story.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..api import Decoding, copied_share, split_words_and_punctuation

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""Weight of recall, exponent and weight of the fragmentation penalty: those of the metric `meteor`."""
REPEATED = 0.5
"""The share of a sample's 4-grams that stand in the context from which on it says nothing new."""
SELECTION = "mbr-2"
"""In the signature of scores; changed whenever others of the same samples may be selected."""
DECIMALS = 6
"""To which expected utilities are compared, so that rounding of the vectors does not decide."""

Utilities = Callable[[Sequence[str], Sequence[str]], NDArray[np.float64]]
"""Returns the utility (C, R) of each of C candidates if the next text is each of R references."""


Sampled = tuple[str, bool]
"""A text, and whether it has ended before the decoder's longest length."""


def select_texts(
    samples: Sequence[Sequence[Sampled]],
    contexts: Sequence[Sequence[str]],
    decoding: Decoding,
    *,
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
) -> list[str]:
    """Select one text for each of B stories from its samples and the texts of its context, B lists each.

    `embed` returns the vectors (n, d) of n texts; it is not called for the utility `meteor`.
    """
    utilities: Utilities = meteor_utilities
    if decoding.utility != "meteor":
        sampled = (text for story in samples for text, _ in story)
        texts = list(dict.fromkeys([*sampled, *(text for story in contexts for text in story)]))
        cosines: Utilities = partial(_cosines, dict(zip(texts, _unit(embed(texts)), strict=True)))
        utilities = cosines if decoding.utility == "embedding" else partial(_mean, meteor_utilities, cosines)
    return [
        select_text(sampled, context, decoding, utilities=utilities)
        for sampled, context in zip(samples, contexts, strict=True)
    ]


def select_text(sampled: Sequence[Sampled], context: Sequence[str], decoding: Decoding, *, utilities: Utilities) -> str:
    """Return the candidate with the highest mean utility over all references but itself; of equal ones the first.

    References are the samples, with weight 1, and the texts of the context, with weight `context_weight`. Candidates
    are the samples that have ended, if any has, and of these the ones that do not repeat the context, if there are
    such; with `context_candidates`, the samples that have ended and then the texts of the context.
    """
    samples = [text for text, _ in sampled]
    whole = [text for text, has_ended in sampled if has_ended] or samples
    weights = dict.fromkeys((*samples, *context), 0.0)  # of each distinct text as a reference
    own = dict.fromkeys(context, decoding.context_weight) | dict.fromkeys(samples, 1.0)  # the share of one occurrence
    for text in samples:
        weights[text] += 1
    for text in context:
        weights[text] += decoding.context_weight
    references = [text for text, weight in weights.items() if weight]
    candidates = list(dict.fromkeys([*whole, *context]))
    if not decoding.context_candidates:
        candidates = _new_texts(whole, context)
    total, expected = math.fsum(weights.values()), []
    for candidate, row in zip(candidates, utilities(candidates, references).tolist(), strict=True):
        shares = (weights[text] - own[text] * (text == candidate) for text in references)
        # An exact sum: the order of the samples does not change it.
        utility = math.fsum(share * value for share, value in zip(shares, row, strict=True))
        expected.append(round(utility / (total - own[candidate]), DECIMALS))
    return candidates[expected.index(max(expected))]


def _new_texts(samples: Sequence[str], context: Sequence[str]) -> list[str]:
    """Return the distinct samples of which less than `REPEATED` stands in the context.

    If all of them repeat it as much, those that are no whole text of it; and if all are, all.
    """
    known = {tuple(split_words_and_punctuation(text)) for text in context}
    distinct = list(dict.fromkeys(samples))
    others = [text for text in distinct if tuple(split_words_and_punctuation(text)) not in known] or distinct
    return [text for text in others if copied_share(text, context) < REPEATED] or others


def meteor_utilities(candidates: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Return the METEOR (C, R) of each candidate against each reference, without stems and synonyms."""
    words = {text: split_words_and_punctuation(text) for text in (*candidates, *references)}
    positions = {text: _positions(words[text]) for text in references}
    return np.array(
        [[_meteor(words[one], len(words[two]), positions[two]) for two in references] for one in candidates],
        dtype=np.float64,
    )


def _positions(words: Sequence[str]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        positions.setdefault(word, []).append(index)
    return positions


def _meteor(hypothesis: Sequence[str], length: int, positions: dict[str, list[int]]) -> float:
    """Return the METEOR of a hypothesis against a reference of `length` words with these positions of each word.

    Lavie and Agarwal (2007), "METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with Human
    Judgments", with words aligned as nltk does: the last occurrence in one text to the last in the other.
    """
    used: dict[str, int] = {}
    matches, chunks = 0, 0
    before = after = -2  # the positions of the match to the right, in the hypothesis and in the reference
    for index in range(len(hypothesis) - 1, -1, -1):
        word = hypothesis[index]
        among = positions.get(word, ())
        count = used.get(word, 0)
        if count == len(among):
            continue
        used[word] = count + 1
        aligned = among[-1 - count]
        matches += 1
        chunks += not (before == index + 1 and after == aligned + 1)
        before, after = index, aligned
    if not matches:
        return 0.0
    precision, recall = matches / len(hypothesis), matches / length
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * math.pow(chunks / matches, BETA))


def _cosines(
    vectors: dict[str, NDArray[np.float64]], candidates: Sequence[str], references: Sequence[str]
) -> NDArray[np.float64]:
    """Return the cosine (C, R) of each candidate to each reference."""
    one, two = (np.stack([vectors[text] for text in texts]) for texts in (candidates, references))
    cosines: NDArray[np.float64] = one @ two.T
    return cosines


def _mean(
    one: Utilities, other: Utilities, candidates: Sequence[str], references: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean (C, R) of two utilities."""
    return (one(candidates, references) + other(candidates, references)) / 2


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled
