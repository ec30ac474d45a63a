"""How well the model goes on when it is told all of the target that came before: no score, and named so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..data.batches import Contexts, Targets
from ..model.story_model import StoryModel

BATCH = 32


@torch.no_grad()
def teacher_forced(model: StoryModel, contexts: Contexts, targets: Targets) -> dict[str, Any]:
    """Give the mean losses over all windows, and the perplexity a token of the run's own vocabulary.

    The loss of the text is a mean over tokens, the others are over windows. That of the alignment depends on which
    windows meet in a batch: a fixed shuffle, as in training.
    """
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    tokens = 0
    order = np.random.default_rng(0).permutation(len(contexts))
    for start in range(0, len(order), BATCH):
        indices = order[start : start + BATCH]
        target = targets.batch(indices)
        written = int(target.mask.sum())
        tokens += written
        for name, loss in model(contexts.batch(indices), target).items():
            weight = written if name == "text" else len(indices)
            sums[name] = sums.get(name, 0.0) + float(loss) * weight
            weights[name] = weights.get(name, 0.0) + weight
    losses = {name: sums[name] / weights[name] for name in sums}
    return {
        "losses": losses,
        "perplexity": math.exp(losses["text"]) if losses["text"] < 700 else None,  # beyond, no float holds it
        "tokens": tokens,
    }
