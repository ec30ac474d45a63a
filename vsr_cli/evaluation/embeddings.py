"""The scored windows and those that were learned from, in a run's own spaces, and the baselines that this gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..config.schema import FeatureOptions
from ..data.features import Features, frozen_features
from ..data.prepared import Prepared
from ..model.spaces import Spaces
from ..model.story_model import StoryModel
from .baselines import Unavailable, WindowVectors, nearest_context, typical
from .series import Series
from .training_neighbors import Training, look_at_training


@dataclass(frozen=True)
class Placed:
    """The windows of a split, and the training windows that baselines are taken from, in a run's spaces."""

    spaces: Spaces
    features: Features
    """Of the split."""
    vectors: WindowVectors
    """Of all windows of the split, those that are not scored included."""
    training: Prepared
    """The data that the run learned from."""
    learned: Training | Unavailable

    def baselines(self, rows: NDArray[np.int64]) -> dict[str, Series | Unavailable]:
        """Answer some of the split's windows (n,) with what the training windows hold."""
        if isinstance(self.learned, Unavailable):
            return {"nearest-neighbor": self.learned, "mean": self.learned}
        return {
            "nearest-neighbor": nearest_context(self.learned, self.vectors.take(rows)),
            "mean": typical(self.learned, self.spaces, len(rows)),
        }


def place(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    *,
    training: Prepared,
    device: torch.device,
    options: FeatureOptions,
) -> Placed:
    """Place a split's windows, and those of the train split of `training`, by a model that is on the device.

    Frozen features that are not kept yet are computed, and kept.
    """
    how: dict[str, Any] = {"visual": model.visual, "text": model.text, "device": device, "options": options}
    splits = list(dict.fromkeys([split, "train"])) if training is prepared else [split]
    features = frozen_features(prepared, **how, splits=splits)
    spaces = Spaces(model, device)
    windows = prepared.windows(split)
    vectors = WindowVectors(
        spaces.images(prepared.frames.images, windows.image_rows, kept=features.visual),
        spaces.texts(features.tokens, windows.text_rows, kept=features.text),
    )
    learned: Training | Unavailable
    if len(training.windows("train")):
        seen = features if training is prepared else frozen_features(training, **how, splits=["train"])
        learned = look_at_training(training, training.windows("train"), seen, spaces)
    else:
        remedy = "name the data that was trained on with --data"
        learned = Unavailable(f"{training.folder} has no training windows; {remedy}")
    return Placed(spaces, features, vectors, training, learned)
