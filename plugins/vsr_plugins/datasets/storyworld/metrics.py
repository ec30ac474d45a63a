"""Whether a predicted image of storyworld shows the right place, time of day and characters.

A network that was trained on true images (`recognition.py`) reads the predicted and the
true image. It reads true images without an error if they are stretched, the default, so that what it reads in the
target is the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Options, Sample, micro_f1

from .recognition import SIZE, VERSION, Recognized, recognize

DATASET = "storyworld"
NETWORK = f"recognizer:{DATASET}-{VERSION}|pixels:{SIZE}"


class Accuracy(MeanOfWindows):
    """The share of windows whose predicted image shows the place, or the hour, of the true one.

    The statistics (n, 1): whether it does.
    """

    scale = "0-1, higher is better"
    better: Literal["higher"] = "higher"
    perfect = 1.0
    dataset = DATASET

    def __init__(self, name: Literal["place", "time"]) -> None:
        self._name = name
        self.signature = f"{NETWORK}|agg:mean"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return whether each window's two images show the same, (n, 1)."""
        predicted, true = _recognized(samples)
        field = {"place": "places", "time": "hours"}[self._name]
        same: NDArray[np.bool_] = getattr(predicted, field) == getattr(true, field)
        return same.astype(np.float64)[:, None]

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the share."""
        assert len(statistics), "no score without a window"
        return {self._name: float(statistics.mean())}


class Characters:
    """Micro F1 over all windows of the characters that are seen, also in a thought.

    The statistics (n, 3): the numbers of characters in both images, in the predicted and in the true one.
    """

    scale = "0-1, higher is better"
    better: Literal["higher"] = "higher"
    perfect = 1.0
    dataset = DATASET
    signature = f"{NETWORK}|agg:micro"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the three counts of each window, (n, 3)."""
        predicted, true = (each.characters for each in _recognized(samples))
        return np.stack([each.sum(axis=1) for each in (predicted & true, predicted, true)], axis=1).astype(np.float64)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return F1, precision and recall; 1 if no characters are seen in any image."""
        assert len(statistics), "no score without a window"
        return micro_f1("characters", statistics)


def _recognized(samples: Sequence[Sample]) -> tuple[Recognized, Recognized]:
    """Return what the predicted images show, and the true ones."""
    return recognize([each.predicted_image for each in samples]), recognize([each.reference_image for each in samples])


def build_place(options: Options) -> Metric:
    """Build the accuracy of places."""
    return Accuracy("place")


def build_time(options: Options) -> Metric:
    """Build the accuracy of times of day."""
    return Accuracy("time")


def build_characters(options: Options) -> Metric:
    """Build the F1 of characters."""
    return Characters()
