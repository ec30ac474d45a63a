"""Text decoder `repeat-context`: repeats the text of the context that is expected to overlap the next text most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Decoding, Narrative, TrainingFrames

from . import RepeatContextOptions
from .whole_texts import PADDING, WholeTextDecoder

MOST_TOKENS = 128
"""Of a target, compared with the texts of the context."""
RECENCY = (0.7, 0.85, 1.0, 1.15)
"""Weight of each text of a context in the support, set by hand; the last text counts most."""
FEATURES = 17
SUPPORT = slice(7, 9)
"""The features that are overlaps with the other texts, of both kinds."""
RHYTHM = slice(9, 11)
"""The features that are overlaps of texts as far apart as this one and the next, of both kinds."""
RHYTHM_WEIGHT = 0.5
"""Weight of the rhythm relative to the support, in the initial estimate."""
MOST_FITTED = 1000
"""Contexts from which the mean and deviation of the features are computed."""
SMALLEST_DEVIATION = 1e-3
LARGEST_FEATURE = 4.0
"""In standard deviations: features are clamped, against outliers."""


class RepeatContextDecoder(WholeTextDecoder):
    """Repeat the text of the context with the highest expected overlap with the next text, as it stands in the story.

    Minimum Bayes risk decoding (Kumar and Byrne, 2004) with the texts of the context as candidates. Refrains and names
    recur in stories, so that the best of four texts is hard to beat in n-gram overlap. The initial estimate is the
    overlap with the other texts of the context (support), plus the overlap of texts that are as far apart as this one
    and the next (rhythm), for stories whose texts alternate. A small network learns a correction from each text's
    position, length and overlaps. On held-out real stories, a network without that initial estimate was far worse
    after the same few epochs.
    """

    caution = "the text decoder repeat-context only repeats a text of the context: it writes nothing new"
    open_vocabulary = True
    recency: Tensor

    def __init__(self, options: RepeatContextOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length)
        steps = context.steps
        # Positions count back from the last frame, so that contexts of any length have weights.
        recency = torch.tensor([RECENCY[0]] * max(0, steps - len(RECENCY)) + list(RECENCY[-steps:]))
        self.register_buffer("recency", recency, persistent=False)
        self.mean = nn.Parameter(torch.zeros(FEATURES), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(FEATURES), requires_grad=False)
        last = nn.Linear(options.hidden, 1)
        for weight in last.parameters():
            nn.init.zeros_(weight)
        self.scorer = nn.Sequential(nn.Linear(FEATURES, options.hidden), nn.GELU(), nn.Dropout(options.dropout), last)

    @torch.no_grad()
    def fit(self, frames: TrainingFrames) -> None:
        """Compute the mean and deviation of the features over contexts of training stories."""
        steps = len(self.recency)
        first = np.flatnonzero(frames.story[: len(frames.story) - steps + 1] == frames.story[steps - 1 :])
        if not len(first):
            return
        some = first[np.unique(np.linspace(0, len(first) - 1, min(MOST_FITTED, len(first))).round().astype(int))]
        positions = some[:, None] + np.arange(steps)  # (C, K)
        found = self._encode([frames.texts[place] for place in positions.reshape(-1).tolist()])
        texts = found.to(self.mean.device).reshape(*positions.shape, -1)  # (C, K, T)
        features = self._describe(texts, torch.ones(positions.shape, dtype=torch.bool, device=texts.device)).flatten(
            0, 1
        )
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp(min=SMALLEST_DEVIATION))

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean squared error of the expected overlaps, a scalar, from targets and mask (B, T).

        Texts overlap in the tokens of the text encoder, of which targets have at most `MOST_TOKENS`.
        """
        texts = self._texts(narrative)  # (B, K, L)
        batch, steps, width = texts.shape
        targets = self._encode(self.detokenize(ids.masked_fill(~mask, PADDING))).to(texts.device)  # (B, S)
        each = targets[:, None].expand(-1, steps, -1).flatten(0, 1)  # (B*K, T)
        f1, mean = overlap(texts.reshape(-1, width), each, pad=self.vocabulary.pad)
        true = ((f1 + mean) / 2).reshape(batch, steps)  # (B, K)
        real = narrative.context.mask  # (B, K)
        expected = self._expected(texts, real)
        return functional.mse_loss(expected[real], true[real].to(expected.dtype))

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Return the best text's characters (B, T), up to their end. The decoding method has no effect."""
        texts, real = self._texts(narrative), narrative.context.mask
        best = self._expected(texts, real).masked_fill(~real, -torch.inf).argmax(dim=1)  # (B,)
        chosen = [story[row] for story, row in zip(narrative.context.texts, best.tolist(), strict=True)]
        return self._characters(chosen, best.device)

    def _expected(self, texts: Tensor, real: Tensor) -> Tensor:
        """Return the expected overlap of each text (B, K, L) of a context with the next one, (B, K)."""
        features = self._describe(texts, real)  # (B, K, features)
        standard = (features - self.mean) / self.deviation
        added: Tensor = self.scorer(standard.clamp(-LARGEST_FEATURE, LARGEST_FEATURE))  # (B, K, 1)
        first = features[..., SUPPORT].mean(-1) + RHYTHM_WEIGHT * features[..., RHYTHM].mean(-1)
        return first + added[..., 0]

    @torch.no_grad()
    def _describe(self, texts: Tensor, real: Tensor) -> Tensor:
        """Return the features of each text (B, K, L) given the others of its context, (B, K, features)."""
        batch, steps = real.shape
        f1, mean = (score.float() for score in overlaps(texts, pad=self.vocabulary.pad))  # (B, text, other text)
        others = (real[:, None] & ~torch.eye(steps, dtype=torch.bool, device=texts.device)).float()  # (B, K, K)
        weight = others * self.recency
        supported = [
            (score * weight).sum(2) / weight.sum(2).clamp(min=torch.finfo(torch.float32).tiny) for score in (f1, mean)
        ]
        length = (texts != self.vocabulary.pad).sum(2).float().log1p()  # (B, K)
        average = (length * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        place = torch.eye(steps, device=texts.device).expand(batch, -1, -1)  # (B, K, K)
        whole = torch.ones_like(length)
        near = [place[..., -1 - back] if back < steps else 0 * whole for back in (0, 1, 3)]
        before = functional.pad(
            f1.diagonal(offset=-1, dim1=1, dim2=2), (1, 0)
        )  # overlap with the previous text, (B, K)
        last = f1[:, -1]  # overlap of the last text with each, (B, K)
        columns = [
            *near,
            length,
            length - average,
            (length - average).square(),
            average * whole,
            *supported,
            *(rhythm(score, real) for score in (f1, mean)),
            f1[..., -1] * others[..., -1],
            (f1 * others).amax(2),
            (f1 * others).sum((1, 2))[:, None] / max(1, steps * (steps - 1)) * whole,
            before,
            *(last[:, -1 - back, None] * whole if back < steps else 0 * whole for back in (1, 2)),
        ]
        return torch.stack(columns, dim=-1)

    def _texts(self, narrative: Narrative) -> Tensor:
        """Return the texts (B, K, L) without special tokens, padded on the right; empty for a repeated frame."""
        context = narrative.context
        real = context.text_mask & context.mask[..., None]
        return self._words(context.text_ids.masked_fill(~real, self.vocabulary.pad))

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """Return texts in the tokens of the text encoder, without special ones (N, S)."""
        return self._words(torch.from_numpy(self.vocabulary.encode_targets(texts, length=MOST_TOKENS).ids))

    def _words(self, ids: Tensor) -> Tensor:
        """Remove the special tokens from texts (..., L) and move the other tokens to the left."""
        vocabulary = self.vocabulary
        marks = (ids == vocabulary.pad) | (ids == vocabulary.bos) | (ids == vocabulary.eos)
        order = marks.int().argsort(dim=-1, stable=True)
        return ids.masked_fill(marks, vocabulary.pad).gather(-1, order)


RECALL_WEIGHT = 0.9
"""Weight of recall in METEOR's mean (Banerjee and Lavie, 2005)."""


def overlap(ours: Tensor, theirs: Tensor, *, pad: int) -> tuple[Tensor, Tensor]:
    """Return two overlap scores (N,) in [0, 1] for pairs of padded texts (N, T) and (N, S).

    The first is ROUGE-L, the F1 of the longest common subsequence; the second METEOR's mean of precision and recall,
    without its penalty. Both are on tokens, without stems or synonyms. Empty texts score 0.
    """
    return _scores(*_in_common(ours, theirs, pad), (ours != pad).sum(1), (theirs != pad).sum(1))


def overlaps(texts: Tensor, *, pad: int) -> tuple[Tensor, Tensor]:
    """Return both scores of each pair of K texts (B, K, T), (B, K, K); 0 on the diagonal."""
    batch, count, width = texts.shape
    one, other = torch.triu_indices(count, count, offset=1, device=texts.device)  # (pairs,) each
    found = _in_common(texts[:, one].reshape(-1, width), texts[:, other].reshape(-1, width), pad)
    common = []
    for each in found:
        both_ways = each.new_zeros(batch, count, count)
        both_ways[:, one, other] = both_ways[:, other, one] = each.reshape(batch, -1)
        common.append(both_ways)
    length = (texts != pad).sum(2)  # (B, K)
    return _scores(common[0], common[1], length[:, :, None], length[:, None])


def rhythm(scores: Tensor, real: Tensor) -> Tensor:
    """Return for each text of a context the mean score of texts as far apart as it and the next text, (B, K).

    `scores` are those of each pair (B, K, K), `real` says which texts are real (B, K), which come first. If no pair is
    that far apart, it is the mean over the other distances; 0 if there is one text.
    """
    steps = real.shape[1]
    if steps == 1:
        return scores.new_zeros(real.shape)
    both = real[:, :, None] & real[:, None]
    pairs = [both.diagonal(offset=apart, dim1=1, dim2=2).sum(1) for apart in range(1, steps)]
    sums = [(scores * both).diagonal(offset=apart, dim1=1, dim2=2).sum(1) for apart in range(1, steps)]
    count = torch.stack(pairs, dim=1)  # (B, K - 1)
    means = torch.stack(sums, dim=1) / count.clamp(min=1)
    elsewhere = means.sum(1, keepdim=True) / (count > 0).sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    by_distance = torch.cat([torch.where(count > 0, means, elsewhere), elsewhere], dim=1)  # (B, K), of 1 to K apart
    apart = real.sum(1, keepdim=True) - torch.arange(steps, device=real.device)  # (B, K), to the next text
    return by_distance.gather(1, (apart - 1).clamp(min=0))


def _scores(subsequence: Tensor, shared: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    own, other = own.clamp(min=1), other.clamp(min=1)
    mean = shared / (RECALL_WEIGHT * other + (1 - RECALL_WEIGHT) * own)  # P R / (a P + (1 - a) R)
    return 2 * subsequence / (own + other), mean


def _in_common(ours: Tensor, theirs: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Return the length of the longest common subsequence of pairs, and how many tokens they share, (N,)."""
    ours, theirs = ours[:, : _longest(ours, pad)], theirs[:, : max(1, _longest(theirs, pad))]
    return _longest_common_subsequence(ours, theirs, pad), _shared(ours, theirs, pad)


def _longest_common_subsequence(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Return its length (N,), by dynamic programming over all pairs at once."""
    row = torch.zeros(len(theirs), theirs.shape[1] + 1, dtype=torch.int16, device=theirs.device)
    for token in ours.T:  # (N,)
        match = (theirs == token[:, None]) & (token[:, None] != pad)  # (N, S)
        longer = torch.maximum(row[:, 1:], (row[:, :-1] + 1) * match)
        row = torch.cat([row[:, :1], longer], dim=1).cummax(dim=1).values
    return row[:, -1]


def _shared(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Return how many tokens they share, (N,), as multisets."""
    left = theirs.clone()
    rows = torch.arange(len(left), device=left.device)
    count = left.new_zeros(len(left))
    for token in ours.T:  # (N,)
        match = (left == token[:, None]) & (token[:, None] != pad)  # (N, S)
        place = match.int().argmax(dim=1)
        found = match[rows, place]
        left[rows, place] = torch.where(found, -1, left[rows, place])  # it counts once
        count += found
    return count


def _longest(texts: Tensor, pad: int) -> int:
    return int((texts != pad).sum(1).max()) if len(texts) else 0
