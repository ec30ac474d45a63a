"""METEOR by nltk. Importing it takes seconds: `nltk.translate` cannot be had without the whole of nltk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Sample, VsrError

from . import MeteorOptions
from .stems import PorterStems
from .wordnet import SYSTEM_FOLDERS, Synonyms, Thesaurus, WordNet, system_folder

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""nltk's defaults: weight of precision against recall, exponent and weight of the fragmentation penalty."""
INSTALL = "install it with 'apt-get install wordnet-base' or 'python -m nltk.downloader wordnet'"


class Meteor:
    """The mean over windows of METEOR (Lavie and Agarwal, 2007), each whole text scored as one segment.

    Tokens are nltk's wordpunct tokens in lower case: runs of word characters, runs of punctuation. Unlike the
    Treebank tokenizer this needs no sentence splitter, and so no further data, to part a full stop within a
    text from its word. A text scored against itself gives 1 - 0.5 / m^3 with m its number of tokens, not 1.
    nltk looks words up by their Porter stems, so it misses synonyms that are not their own stem ("large").
    """

    scale = "0-1, higher is better"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, thesaurus: Thesaurus, *, source: str) -> None:
        from nltk.tokenize import wordpunct_tokenize
        from nltk.translate.meteor_score import single_meteor_score

        # Every text is asked for beside several others; nltk's expression is run under a watch, and that takes time.
        self._tokenize = lru_cache(maxsize=1 << 12)(lambda text: wordpunct_tokenize(text.lower()))
        self._score = single_meteor_score
        self._stems = PorterStems()
        self._thesaurus = Synonyms(thesaurus)
        self.signature = (
            f"nrefs:1|case:lc|tok:wordpunct|stemmer:porter|alpha:{ALPHA}|beta:{BETA}|gamma:{GAMMA}"
            f"|wordnet:{source}|agg:mean|version:nltk-{version('nltk')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Give the METEOR of each window, (n, 1); 0 where a text is empty."""
        scores = [self._window(sample.reference_text, sample.predicted_text) for sample in samples]
        return np.array(scores, dtype=np.float64).reshape(-1, 1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Give the mean METEOR."""
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


def build(options: MeteorOptions) -> Metric:
    """Build the metric with nltk's WordNet if it is there, else with the system's.

    Raises VsrError if there is neither, and none could be downloaded where that was asked for.
    """
    found = _find()
    if found is None and options.download:
        _download()
        found = _find()
    if found is None:
        raise VsrError(
            "meteor: WordNet was not found (looked in nltk's data, $WNSEARCHDIR, $WNHOME/dict and the system's"
            f" {' and '.join(map(str, SYSTEM_FOLDERS))}); {INSTALL}, or let vsr fetch it with"
            " '--set metrics.meteor.download=true'"
        )
    thesaurus, source = found
    return Meteor(thesaurus, source=source)


def _find() -> tuple[Thesaurus, str] | None:
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        folder = system_folder()
        if folder is None:
            return None
        database = WordNet(folder)
        return database, f"{database.version}-system"
    return wordnet, f"{wordnet.get_version()}-nltk"


def _download() -> None:
    from nltk.downloader import download

    report = io.StringIO()  # nltk prints its errors, also when it is told to be quiet
    try:
        done = download("wordnet", quiet=True, print_error_to=report)
    except (OSError, ValueError) as error:  # no connection; an answer that is not nltk's index
        done, reason = False, str(error)
    else:
        reason = report.getvalue()
    if not done:
        reason = " ".join(reason.replace("[nltk_data]", " ").split())
        raise VsrError(
            "meteor: WordNet was not found and could not be downloaded"
            f" ({reason or 'nltk gave no reason'}); {INSTALL} when online"
        )
