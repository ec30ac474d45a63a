"""A text decoder that chooses among the texts of the context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Decoding, Narrative, TokenBatch, TrainingFrames, Vocabulary

from . import EchoOptions
from .overlap import overlap, overlaps, rhythm

RECENCY = (0.7, 0.85, 1.0, 1.15)
"""How much each text of a context counts as a witness of what the next one is like: set by hand, the latest most."""
FEATURES = 17
SUPPORT = slice(7, 9)
"""The features that are overlaps with the witnesses, of both kinds."""
RHYTHM = slice(9, 11)
"""The features that are overlaps between texts as far apart as this one and the next, of both kinds."""
RHYTHM_WEIGHT = 0.5
"""Of the rhythm beside the support, before anything is learned."""
MOST_FITTED = 1000
"""Contexts whose features are looked at for their mean and deviation."""
SMALLEST_DEVIATION = 1e-3
LARGEST_FEATURE = 4.0
"""In standard deviations: no story is so unlike the others that its scores should fly off."""


class Echo(nn.Module):
    """Repeats the text of the context whose expected overlap with the next one is the largest.

    That is minimum Bayes risk (Kumar and Byrne, 2004) with the context's own texts as candidates. Refrains and names
    recur in stories, so that the best of the last four texts is hard to beat by n-grams; but what is written is never
    new. The context's other texts stand for the next one as witnesses: the expected overlap is at first that with them.
    Stories told in turns ("said Puppy", a night, "said Parrot", a night) repeat what is two or three texts back, so
    what texts just as far apart have in common is added to it. A small network learns the rest, from each text's place,
    length and overlaps. On real stories held out, a network that had to learn all of it did far worse within the same
    few epochs.
    """

    recency: Tensor

    def __init__(self, vocabulary: Vocabulary, *, steps: int, options: EchoOptions) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.length = options.length
        # Places count from the last frame on, so that contexts of any length have weights.
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
        """Learn how the features of texts are spread over the contexts of training stories."""
        steps = len(self.recency)
        first = np.flatnonzero(frames.story[: len(frames.story) - steps + 1] == frames.story[steps - 1 :])
        if not len(first):
            return
        some = first[np.unique(np.linspace(0, len(first) - 1, min(MOST_FITTED, len(first))).round().astype(int))]
        places = some[:, None] + np.arange(steps)  # (C, K)
        tokens = self.tokenize([frames.texts[place] for place in places.reshape(-1).tolist()])
        texts = self._words(torch.from_numpy(tokens.ids).to(self.mean.device)).reshape(*places.shape, -1)  # (C, K, T)
        features = self._describe(texts, torch.ones(places.shape, dtype=torch.bool, device=texts.device)).flatten(0, 1)
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp(min=SMALLEST_DEVIATION))

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos unless cut, without bos."""
        return self.vocabulary.encode_targets(texts, length=self.length)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos."""
        return self.vocabulary.decode(ids)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean squared error of the expected overlaps, a scalar, from targets and mask (B, T)."""
        texts = self._texts(narrative)  # (B, K, L)
        batch, steps, width = texts.shape
        targets = self._words(ids.masked_fill(~mask, self.vocabulary.pad))  # (B, T)
        each = targets[:, None].expand(-1, steps, -1).flatten(0, 1)  # (B*K, T)
        f1, mean = overlap(texts.reshape(-1, width), each, pad=self.vocabulary.pad)
        true = ((f1 + mean) / 2).reshape(batch, steps)  # (B, K)
        real = narrative.context.mask  # (B, K)
        expected = self._expected(texts, real)
        return functional.mse_loss(expected[real], true[real].to(expected.dtype))

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Return the best text's ids (B, T), up to eos, then padding. There is one best, however one would decode."""
        texts, real = self._texts(narrative), narrative.context.mask
        best = self._expected(texts, real).masked_fill(~real, -torch.inf).argmax(dim=1)  # (B,)
        chosen = texts[torch.arange(len(texts), device=texts.device), best]  # (B, L)
        written = functional.pad(chosen, (0, max(0, self.length - chosen.shape[1])), value=self.vocabulary.pad)
        written = written[:, : self.length]  # (B, T)
        length = (written != self.vocabulary.pad).sum(1).clamp(max=self.length - 1)  # (B,)
        places = torch.arange(self.length, device=written.device)
        written = written.masked_fill(places >= length[:, None], self.vocabulary.pad)
        return written.masked_fill(places == length[:, None], self.vocabulary.eos)

    def _expected(self, texts: Tensor, real: Tensor) -> Tensor:
        """Return the expected overlap of each text (B, K, L) of a context with the next one, (B, K)."""
        features = self._describe(texts, real)  # (B, K, features)
        standard = (features - self.mean) / self.deviation
        added: Tensor = self.scorer(standard.clamp(-LARGEST_FEATURE, LARGEST_FEATURE))  # (B, K, 1)
        first = features[..., SUPPORT].mean(-1) + RHYTHM_WEIGHT * features[..., RHYTHM].mean(-1)
        return first + added[..., 0]

    @torch.no_grad()
    def _describe(self, texts: Tensor, real: Tensor) -> Tensor:
        """Describe each text (B, K, L) beside the others of its context, (B, K, features)."""
        batch, steps = real.shape
        f1, mean = (score.float() for score in overlaps(texts, pad=self.vocabulary.pad))  # (B, text, witness)
        others = (real[:, None] & ~torch.eye(steps, dtype=torch.bool, device=texts.device)).float()  # (B, K, K)
        witness = others * self.recency
        supported = [
            (score * witness).sum(2) / witness.sum(2).clamp(min=torch.finfo(torch.float32).tiny) for score in (f1, mean)
        ]
        length = (texts != self.vocabulary.pad).sum(2).float().log1p()  # (B, K)
        average = (length * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        place = torch.eye(steps, device=texts.device).expand(batch, -1, -1)  # (B, K, K)
        whole = torch.ones_like(length)
        near = [place[..., -1 - back] if back < steps else 0 * whole for back in (0, 1, 3)]
        before = functional.pad(f1.diagonal(offset=-1, dim1=1, dim2=2), (1, 0))  # with the text before, (B, K)
        last = f1[:, -1]  # of the last text with each, (B, K)
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
        """Return the context's texts (B, K, L) as words alone, padded on the right; a repeated frame has none."""
        context = narrative.context
        real = context.text_mask & context.mask[..., None]
        return self._words(context.text_ids.masked_fill(~real, self.vocabulary.pad))

    def _words(self, ids: Tensor) -> Tensor:
        """Take what marks the start and end of texts (..., L) out of them, and move the words to the left."""
        vocabulary = self.vocabulary
        marks = (ids == vocabulary.pad) | (ids == vocabulary.bos) | (ids == vocabulary.eos)
        order = marks.int().argsort(dim=-1, stable=True)
        return ids.masked_fill(marks, vocabulary.pad).gather(-1, order)


def build(options: EchoOptions, context: BuildContext) -> Echo:
    """Build the decoder over the text encoder's vocabulary."""
    assert context.vocabulary is not None, "a decoder is built after the text encoder"
    return Echo(context.vocabulary, steps=context.steps, options=options)
