"""The states of a context that a text decoder can attend to: three per frame, and one per word.

Imports torch, so `vsr_cli.api` itself does not import it. M is the number of states: 3 * K, plus K * L with words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .contracts import Narrative

KERNEL = 5
"""Tokens that the state of a word is computed from: itself and two on each side."""


class ContextMemory(nn.Module):
    """The states of a context, with learned embeddings of their frame and kind."""

    def __init__(self, *, width: int, steps: int, words: nn.Embedding | None = None) -> None:
        """`width` is D, `steps` K, and `words` the token embedding; without it, there are no states of words."""
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(3, steps, width))
        self.words = None if words is None else WordStates(words, width=width, steps=steps)

    def forward(self, narrative: Narrative) -> tuple[Tensor, Tensor]:
        """Return the states (B, M, D), first those of the frames and then those of the words, and the mask (B, M)."""
        frames = torch.stack([narrative.steps, narrative.visual, narrative.text], dim=1) + self.places  # (B, 3, K, D)
        states, mask = frames.flatten(1, 2), narrative.context.mask.repeat(1, 3)  # (B, 3 * K, D), (B, 3 * K)
        if self.words is not None:
            states = torch.cat([states, self.words(narrative)], dim=1)
            mask = torch.cat([mask, word_mask(narrative)], dim=1)
        return states, mask


class WordStates(nn.Module):
    """A state for each token of the context, computed from neighboring tokens and its frame."""

    def __init__(self, words: nn.Embedding, *, width: int, steps: int) -> None:
        super().__init__()
        self.embedding = words
        self.mixing = nn.Conv1d(words.embedding_dim, width, KERNEL, padding=KERNEL // 2)
        self.places = nn.Parameter(0.02 * torch.randn(steps, width))

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, K * L, D)."""
        ids, mask = narrative.context.text_ids, narrative.context.text_mask  # (B, K, L)
        embedded = self.embedding(ids) * mask[..., None]  # (B, K, L, E)
        mixed = self.mixing(embedded.flatten(0, 1).transpose(1, 2))  # (B * K, E, L) -> (B * K, D, L)
        states = mixed.transpose(1, 2).unflatten(0, ids.shape[:2])  # (B, K, L, D)
        framed = torch.tanh(states + (narrative.steps + self.places)[:, :, None])
        return framed.flatten(1, 2)


def word_mask(narrative: Narrative) -> Tensor:
    """Return which tokens of a context are real and of a real frame, (B, K * L) bool."""
    context = narrative.context
    return (context.text_mask & context.mask[..., None]).flatten(1)
