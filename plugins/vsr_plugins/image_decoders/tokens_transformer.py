"""The masked transformer of `tokens`: the probability of every code at every position of an image.

Shapes: B stories, K context frames, n positions of an image, L words, M entries of the memory, C codes, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, NextText

from . import TokensOptions
from .tokens_autoencoder import ScalarQuantizer

HEAD = 32
"""Width of an attention head, and of the keys of the pointer."""
EXPANSION = 2
"""Width within a layer's feed-forward network, relative to that of the transformer."""
SPREAD = 0.1
"""Standard deviation of embeddings at initialization."""
SAME_POSITION = 4.0
"""Initial score of copying from the same position, beyond that of others."""
LEAST = 1e-9
"""Lower bound of the probability of copying a code, so that its logarithm is finite."""
PERIOD = 1e4
"""Longest period of the encoding of a word's position, in words."""
SMALL = 0.02
"""Standard deviation, at initialization, of what each word adds to the summary of the text."""
PLACE_SHARE = 0.3
"""How far, at initialization, that depends on the word's position."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the positions of an image attend to."""

    entries: Tensor
    """The story, the words and the codes of the context, (B, M + K * n, W)."""
    readable: Tensor
    """(B, M + K * n) bool."""
    text: Tensor
    """A summary of the text, (B, 1, W), that is added at every position and scales its features in every layer."""
    codes: Tensor
    """The codes of the context, (B, K * n) int64. Theirs are the last entries."""


class TokenTransformer(nn.Module):
    """Predicts masked codes from the others, the next text, the narrative and the codes of the context.

    Chang et al. (2022), "MaskGIT: Masked Generative Image Transformer", with cross-attention, and with the copying of
    See et al. (2017), "Get To The Point": the probability of a code mixes, by a gate, that of generating it and that
    of copying it from a position of the context, initially the same position.
    """

    def __init__(self, options: TokensOptions, context: BuildContext, *, quantizer: ScalarQuantizer, side: int) -> None:
        super().__init__()
        assert context.vocabulary is not None
        assert context.text_features is not None
        width, steps, codes, positions = options.width, context.steps, quantizer.codes, side**2
        self.mask = codes  # the code of a masked position
        self.side, self.positions = side, positions
        self.has_word_features = len(context.text_features) > 1
        self.features = nn.Linear(context.text_features[-1], width)
        self.summand: nn.Module
        if self.has_word_features:
            self.summand = nn.Linear(context.text_features[-1], width)
        else:
            self.word = _embedding(len(context.vocabulary), width)
            self.summand = nn.Embedding(len(context.vocabulary), width)
        nn.init.normal_(self.summand.weight, std=SMALL)
        self.place = nn.Parameter(torch.full((width,), PLACE_SHARE / SPREAD))
        self.narrative = nn.Linear(context.width, width)
        self.story = nn.Parameter(SPREAD * torch.randn(steps + 2, width))
        self.neighbors = nn.Conv1d(width, width, 5, padding=2)
        self.word_layer = Layer(width, dropout=options.dropout, cross=False)
        self.phrase = nn.Linear(width, width)
        self.code = CodeTable(quantizer, width, spread=SPREAD, others=1)
        self.position = nn.Parameter(SPREAD * torch.randn(positions, width))
        self.frame = nn.Parameter(SPREAD * torch.randn(steps, 1, width))
        self.text_norm, self.frame_norm, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.layers = nn.ModuleList(Layer(width, dropout=options.dropout, cross=True) for _ in range(options.layers))
        self.near = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(options.layers))
        self.scales = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(options.layers))
        for scale in self.scales:
            nn.init.zeros_(scale.weight)  # type: ignore[arg-type]
            nn.init.zeros_(scale.bias)  # type: ignore[arg-type]
        self.head = CodeTable(quantizer, width, spread=(3 * width) ** -0.5)  # as large as in a linear layer
        self.bias = nn.Parameter(torch.zeros(codes))
        self.gate = nn.Linear(width, 1)
        self.copy_query, self.copy_key = nn.Linear(width, HEAD), nn.Linear(width, HEAD)
        self.copy_frame = nn.Parameter(torch.zeros(steps, 1))
        self.copy_same = nn.Parameter(torch.tensor(SAME_POSITION))

    def remember(self, narrative: Narrative, text: NextText, codes: Tensor, *, visible: Tensor) -> Memory:
        """Return the memory, with the codes (B, K, n) of the context. `visible` (B, L) bool hides words of the text.

        Where no word is visible, nothing of the text is.
        """
        entries, readable, summary = self._story(narrative, text, visible)
        embedded = functional.embedding(codes, self.code())
        frames = self.frame_norm(embedded + self.position + self.frame).flatten(1, 2)  # (B, K * n, W)
        real = narrative.context.mask.repeat_interleave(self.positions, dim=1)  # (B, K * n)
        return Memory(
            entries=torch.cat([entries, frames], dim=1),
            readable=torch.cat([readable, real], dim=1),
            codes=codes.flatten(1),
            text=summary,
        )

    def forward(self, codes: Tensor, memory: Memory) -> Tensor:
        """Return the state (B, n, W) of each position, from codes (B, n) of which some are masked."""
        states = functional.embedding(codes, self.code()) + self.position + memory.text
        for layer, near, scale in zip(self.layers, self.near, self.scales, strict=True):
            factor, shift = scale(memory.text).chunk(2, dim=-1)  # (B, 1, W) each
            states = states * (1 + factor) + shift
            normalized = functional.layer_norm(states, states.shape[-1:]).mT  # (B, W, n)
            grid = normalized.reshape(*normalized.shape[:2], self.side, self.side)
            states = states + near(grid).flatten(2).mT  # (B, W, side, side) -> (B, n, W)
            states = layer(states, memory.entries, memory.readable)
        final: Tensor = self.norm(states)
        return final

    def log_probabilities(self, states: Tensor, memory: Memory, chosen: Tensor) -> Tensor:
        """Return the log-probability of each code at the N chosen positions, (N, C), from states and bool (B, n)."""
        count = memory.codes.shape[1]  # K * n
        keys = self.copy_key(memory.entries[:, -count:])  # (B, K * n, HEAD)
        scores = (self.copy_query(states) @ keys.mT).float() * HEAD**-0.5  # (B, n, K * n)
        same = self.copy_same * torch.eye(self.positions, device=states.device)[:, None]  # (n, 1, n)
        scores = scores + (same + self.copy_frame).flatten(1)  # (n, K, n) -> (n, K * n)
        scores = scores.masked_fill(~memory.readable[:, None, -count:], float("-inf"))
        attention = scores[chosen].softmax(dim=-1)  # (N, K * n)
        generated = functional.linear(states[chosen], self.head(), self.bias).float().log_softmax(dim=-1)  # (N, C)
        source = memory.codes[:, None].expand(-1, self.positions, -1)[chosen]  # (N, K * n)
        copied = torch.zeros_like(generated).scatter_add(1, source, attention).clamp(min=LEAST).log()
        gate = self.gate(states[chosen]).float()  # (N, 1), log-odds of generating instead of copying
        return torch.logaddexp(generated + functional.logsigmoid(gate), copied + functional.logsigmoid(-gate))

    def _story(self, narrative: Narrative, text: NextText, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return entries for the text, the narrative and each word (B, K + 2 + L, W), which are real, and a summary.

        The summary (B, 1, W) is the sum of what each word adds, which depends on its position too, so that it matters
        who is named first; and the strongest features of phrases, as in Kim (2014), "Convolutional Neural Networks for
        Sentence Classification". What the text says reaches every position by it long before the attention is learned.
        """
        visible = visible & text.mask
        if self.has_word_features:
            whole = torch.zeros_like(narrative.summary[:, :1])  # (B, 1), nothing
            words = self.features(text.features)  # (B, L, F) -> (B, L, W)
            summands = self.summand(text.features)
        else:
            # The features of a text encoder that trains are ids: of little use, and of the scale of others.
            vectors = functional.layer_norm(text.features.float(), text.features.shape[1:])
            whole = self.features(vectors) * visible.any(dim=1, keepdim=True)  # (B, F) -> (B, W)
            words, summands = self.word(text.ids), self.summand(text.ids)  # (B, L) -> (B, L, W)
        words = words * visible[..., None]
        near = self.neighbors(words.mT).mT  # (B, L, W)
        pooled = functional.relu(near).masked_fill(~visible[..., None], 0).amax(dim=1, keepdim=True)  # (B, 1, W)
        positions = _position_encoding(words)  # (L, W)
        summary = (summands * (1 + self.place * positions) * visible[..., None]).sum(dim=1, keepdim=True)
        words = words + near + positions
        states = self.narrative(torch.cat([narrative.summary[:, None], narrative.steps], dim=1))  # (B, K + 1, W)
        story = torch.cat([whole.expand(-1, states.shape[-1])[:, None], states], dim=1) + self.story  # (B, K + 2, W)
        always = torch.ones_like(story[:, :2, 0], dtype=torch.bool)
        readable = torch.cat([always, narrative.context.mask, visible], dim=1)  # (B, K + 2 + L)
        entries = self.word_layer(torch.cat([story, words], dim=1), readable=readable)
        return self.text_norm(entries), readable, self.phrase(pooled) + summary


class Layer(nn.Module):
    """Attention among states, then to a memory if it has one, and a feed-forward network, each with a residual."""

    def __init__(self, width: int, *, dropout: float, cross: bool) -> None:
        super().__init__()
        self.among = Attention(width)
        self.across = Attention(width) if cross else None
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, entries: Tensor | None = None, readable: Tensor | None = None) -> Tensor:
        """Return states (B, n, W). `readable` is the mask of the memory, or without one of the states."""
        states = states + self.dropout(self.among(states, None, None if self.across else readable))
        if self.across is not None:
            states = states + self.dropout(self.across(states, entries, readable))
        changed: Tensor = states + self.dropout(self.feed(states))
        return changed


class Attention(nn.Module):
    """Attention with several heads, from normalized states to entries of a memory, or to themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query, self.both, self.out = (nn.Linear(width, times * width) for times in (1, 2, 1))

    def forward(self, states: Tensor, entries: Tensor | None, readable: Tensor | None) -> Tensor:
        """Return (B, n, W) from states (B, n, W), entries (B, M, W) and their mask (B, M)."""
        states = self.norm(states)
        keys, values = self.both(states if entries is None else entries).chunk(2, dim=-1)
        query, keys, values = (
            part.unflatten(-1, (-1, HEAD)).transpose(1, 2) for part in (self.query(states), keys, values)
        )  # (B, heads, n or M, HEAD)
        mask = None if readable is None else readable[:, None, None]
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


class CodeTable(nn.Module):
    """A vector for each code: one of its own, and one for each of its levels, which it shares with similar codes."""

    levels: Tensor

    def __init__(self, quantizer: ScalarQuantizer, width: int, *, spread: float, others: int = 0) -> None:
        """Make a table of all codes of a quantizer and of `others` without levels, of a standard deviation at first."""
        super().__init__()
        digits = ((quantizer.levels_of(torch.arange(quantizer.codes)[:, None, None]) + 1) / 2).flatten(1)  # (C, d)
        counts = torch.tensor(quantizer.levels)
        places = (digits * (counts - 1)).round().long() + counts.cumsum(0) - counts
        shares = torch.zeros(quantizer.codes + others, int(counts.sum()))
        shares[: quantizer.codes].scatter_(1, places, 1.0)
        self.register_buffer("levels", shares, persistent=False)
        self.own, self.shared = (
            nn.Parameter(spread * torch.randn(count, width)) for count in (len(shares), shares.shape[1])
        )

    def forward(self) -> Tensor:
        """Return the vectors (C + others, W)."""
        return self.own + self.levels @ self.shared


def _embedding(count: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=SPREAD)
    return embedding


def _position_encoding(words: Tensor) -> Tensor:
    """Return the sinusoidal encoding of the positions of words (B, L, W), as small as their embeddings: (L, W)."""
    length, width = words.shape[1:]
    positions = torch.arange(length, device=words.device)[:, None]
    rates = PERIOD ** -torch.linspace(0, 1, width // 2, device=words.device)
    return SPREAD * torch.cat([(positions * rates).sin(), (positions * rates).cos()], dim=1)
