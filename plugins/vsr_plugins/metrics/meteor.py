"""METEOR by nltk. Importing it takes seconds, because `nltk.translate` imports all of nltk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Options, Sample, split_words_and_punctuation

from .tokens import PorterStems, require_words, stemmer_of
from .wordnet import VERSION, Synonyms, Thesaurus, WordNet

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""nltk's defaults: weight of recall, exponent and weight of the fragmentation penalty."""


class Meteor(MeanOfWindows):
    """The mean over windows of METEOR (Lavie and Agarwal, 2007), each whole text scored as one segment.

    Tokens are runs of word characters and runs of punctuation in lower case: of Latin letters exactly nltk's wordpunct
    tokens, of other scripts what vsr takes for words. Unlike the Treebank tokenizer this needs no sentence splitter, so
    no further data, to part a full stop within a text from its word. A text scored against itself gives
    1 - 0.5 / m^3 with m its number of tokens, not 1. nltk looks words up by their Porter stems, so it misses synonyms
    that are not their own stem ("large"). Stems and WordNet are English: words of other scripts match exactly or not.
    """

    scale = "0-1, higher is better"
    reads_images = False
    better: Literal["higher", "lower"] = "higher"
    perfect = 1.0

    def __init__(self, thesaurus: Thesaurus, *, source: str) -> None:
        from nltk.translate.meteor_score import single_meteor_score

        # Every text is asked for beside several others.
        self._tokenize = lru_cache(maxsize=1 << 12)(split_words_and_punctuation)
        self._score = single_meteor_score
        self._stems = PorterStems()
        self._thesaurus = Synonyms(thesaurus)
        self._source = source
        self._sign("porter")

    def read_references(self, references: Sequence[str]) -> None:
        """Sign with what stems and synonyms are good for. Raises VsrError if the references hold no word."""
        require_words("meteor", references)
        self._sign(stemmer_of(references))

    def _sign(self, stemmer: str) -> None:
        wordnet = {"no": "no", "porter-latin": f"{self._source}-latin"}.get(stemmer, self._source)
        self.signature = (
            f"nrefs:1|case:lc|tok:wordpunct|stemmer:{stemmer}|alpha:{ALPHA}|beta:{BETA}|gamma:{GAMMA}"
            f"|wordnet:{wordnet}|agg:mean|version:nltk-{version('nltk')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the METEOR of each window, (n, 1); 0 where a text is empty."""
        scores = [self._window(sample.reference_text, sample.predicted_text) for sample in samples]
        return np.array(scores, dtype=np.float64).reshape(-1, 1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean METEOR."""
        assert len(statistics), "no score without a window"
        return {"meteor": float(statistics.mean())}

    def _window(self, reference: str, prediction: str) -> float:
        score = self._score(
            self._tokenize(reference),
            self._tokenize(prediction),
            stemmer=self._stems,
            wordnet=self._thesaurus,
            alpha=ALPHA,
            beta=BETA,
            gamma=GAMMA,
        )
        return float(score)


def build(options: Options) -> Metric:
    """Build the metric with the WordNet that is shipped."""
    return Meteor(WordNet(), source=VERSION)
