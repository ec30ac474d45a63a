"""The loss term `next_frame`: contrastive, of the next image and the next text among candidates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...api import Context, NextQuery, TrainingFrames
from ..embedding_spaces import image_vectors, text_vectors
from ..parts import Parts
from .term import ForwardPass, LossTerm, TermRequest

SHRINKAGE = 1.0
"""The multiple of the mean variance that is added in every direction to the scatter within stories."""
FIRST_WEIGHTS = (0.15, 0.2, 0.25, 0.4)
"""The initial weights of four context frames, the last being the nearest."""
FITTED_AT_A_TIME = 2048
INITIAL_SCALE, LARGEST_SCALE = 10.0, 100.0
"""The factor of cosines in the softmax."""


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + FITTED_AT_A_TIME) for start in range(0, count, FITTED_AT_A_TIME))


class NextInSpace(nn.Module):
    """The query for the next frame in one space of d dimensions, and the keys of candidates, compared by cosine.

    A key is a vector minus the training mean, whitened by the scatter within stories: what differs between the frames
    of any story counts for less than what distinguishes stories. That is within-class covariance normalization, with
    stories as the classes (Hatch et al. 2006, "Within-class covariance normalization for SVM-based speaker
    recognition").

    The query is a weighted mean of the context's keys. The frames' weights are learned, in general and, from the
    temporal model's summary, per story. A learned correction of the vector itself was worse on held-out stories.
    """

    def __init__(self, dimensions: int, *, width: int, steps: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dimensions), requires_grad=False)
        self.metric = nn.Parameter(torch.eye(dimensions), requires_grad=False)
        first = FIRST_WEIGHTS if steps == len(FIRST_WEIGHTS) else [1 / steps] * steps
        self.log_weights = nn.Parameter(torch.tensor(first).log())
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_SCALE).log())
        self.dropout = nn.Dropout(0.5)
        self.attention = nn.Linear(width, steps, bias=False)
        nn.init.zeros_(self.attention.weight)

    @torch.no_grad()
    def fit(self, vectors: NDArray[np.float32], story: NDArray[np.int64]) -> None:
        """Compute the mean and the scatter within stories of training frames (F, d), with the story of each, (F,)."""
        number, counts = np.unique(story, return_inverse=True, return_counts=True)[1:]
        at = torch.from_numpy(number)
        sums = torch.zeros(len(counts), vectors.shape[1], dtype=torch.float64)
        for part in _parts(len(at)):
            sums.index_add_(0, at[part], torch.from_numpy(vectors[part]).double())
        self.mean.copy_(sums.sum(0) / len(at))
        if len(at) == len(counts):
            return  # every story has one frame: no scatter within
        means = sums / torch.from_numpy(counts)[:, None]
        scatter = torch.zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64)
        for part in _parts(len(at)):
            deviations = torch.from_numpy(vectors[part]).double() - means[at[part]]  # (n, d)
            scatter.addmm_(deviations.T, deviations)
        scatter /= len(at) - len(counts)
        scatter.diagonal().add_(SHRINKAGE * scatter.trace() / len(scatter))
        values, axes = torch.linalg.eigh(scatter)
        smallest = torch.finfo(torch.float32).tiny  # all frames may be alike
        self.metric.copy_(axes * values.clamp(min=smallest) ** -0.5 @ axes.T)

    def keys(self, vectors: Tensor) -> Tensor:
        """Return the keys (..., d) of candidates by their vectors (..., d), of length 1."""
        return functional.normalize((vectors - self.mean) @ self.metric, dim=-1)

    def query(self, context: Tensor, summary: Tensor, mask: Tensor) -> Tensor:
        """Return query (B, d), of length 1, from the context's vectors (B, K, d) and mask and the summary (B, D)."""
        scores = self.log_weights + self.attention(self.dropout(summary))  # (B, K)
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return functional.normalize(torch.einsum("bk,bkd->bd", weights, self.keys(context)), dim=-1)

    def loss(self, query: Tensor, keys: Tensor, negatives: Tensor) -> Tensor:
        """Return the mean cross-entropy, a scalar in nats, of each window's own key among all (B, d).

        InfoNCE, van den Oord et al. 2018, "Representation learning with contrastive predictive coding", equation 4.
        `negatives` (B, B) is False where another window's key is not a wrong answer to a query.
        """
        scores = self.log_scale.exp().clamp(max=LARGEST_SCALE) * query @ keys.T  # (B, B)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(~(negatives | own), -torch.inf)
        return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


class NextFrame(LossTerm):
    """The next image and the next text, each in the frozen space of its encoder."""

    contrastive = True
    needs_target_features = True

    def __init__(self, *, visual: int, text: int, width: int, steps: int) -> None:
        super().__init__()
        self.visual = NextInSpace(visual, width=width, steps=steps)
        self.text = NextInSpace(text, width=width, steps=steps)

    def fit(self, frames: TrainingFrames) -> None:
        """Compute from the training frames what needs no gradient, once, before the first step.

        A space that changes while its encoder trains keeps its initial mean and metric.
        """
        for space, vectors, moves in (
            (self.visual, frames.visual, frames.visual_trains),
            (self.text, frames.text, frames.text_trains),
        ):
            if not moves:
                space.fit(vectors(), frames.story)

    def query(self, parts: Parts, context: Context, summary: Tensor) -> NextQuery:
        """Return the query for the next frame, from the contexts and the temporal model's summary (B, D)."""
        size = context.mask.shape  # (B, K)
        visual = image_vectors(parts.visual, context.visual.flatten(0, 1)).reshape(*size, -1)  # (B, K, d)
        text = text_vectors(parts.text, context.text.flatten(0, 1), context.text_mask.flatten(0, 1))
        text = text.reshape(*size, -1)  # (B, K, d)
        with torch.autocast(summary.device.type, enabled=False):
            summary = summary.float()
            return NextQuery(
                visual=self.visual.query(visual.float(), summary, context.mask),
                text=self.text.query(text.float(), summary, context.mask),
                image_keys=self.visual.keys,
                text_keys=self.text.keys,
            )

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean of both spaces' losses over windows (of all processes), a scalar in nats.

        Negatives are the targets of the batch's other windows, except the same image or text, and targets at or before
        the window's own context in its story, which evaluation does not use as candidates either.
        """
        parts, query, target, gather = outputs.parts, outputs.narrative.next, outputs.target.features, outputs.gather
        assert query is not None
        assert target is not None
        visual = image_vectors(parts.visual, target.visual)  # (B, d)
        text = text_vectors(parts.text, target.text, target.text_mask)  # (B, d)
        story, place = gather(outputs.context.story), gather(target.place)  # (B,)
        later = (story[:, None] != story) | (place[:, None] < place)  # (B, B)
        with torch.autocast(query.visual.device.type, enabled=False):
            losses = []
            for space, queries, vectors, own_rows in (
                (self.visual, query.visual, visual, target.image_row),
                (self.text, query.text, text, target.text_row),
            ):
                rows = gather(own_rows)
                negatives = later & (rows[:, None] != rows)
                losses.append(space.loss(gather(queries), gather(space.keys(vectors.float())), negatives))
        return (losses[0] + losses[1]) / 2


@torch.no_grad()
def build(request: TermRequest) -> NextFrame:
    """Build the term for the frozen spaces of the encoders, whose widths are those of one sample's features."""
    parts = request.parts
    assert request.sample is not None
    images, texts, mask = request.sample
    visual, text = image_vectors(parts.visual, images), text_vectors(parts.text, texts, mask)  # (1, d) each
    return NextFrame(visual=visual.shape[1], text=text.shape[1], width=request.width, steps=request.steps)
