"""Small encoders that train from scratch."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, TokenBatch, Vocabulary, content_key, split_words

from . import BowOptions, TinyCnnOptions, TinyTextOptions
from .vocabulary import learn_vocabulary

CHANNELS = (32, 64, 128, 128)
TOKENIZER = "tokenizer.json"
WORDS = "every-script"
"""Names what `bow` takes for a word (`split_words`) in the key of its cached counts."""


class TinyCnn(nn.Module):
    """Four convolutions of stride 2, then a linear layer over what each place of the last map holds.

    Nothing is pooled away, since where a thing stands is part of what a picture tells.
    """

    cache_key: str | None = None

    def __init__(self, *, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS), CHANNELS, strict=False):
            # Group normalisation (Wu and He, 2018) has no running statistics: training and use are the same.
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.projection = nn.Linear(CHANNELS[-1] * (size // 2 ** len(CHANNELS)) ** 2, width)

    def pixels(self, images: Tensor) -> Tensor:
        """Return (N, 3, size, size) in [-1, 1] from images (N, 3, H, W) uint8."""
        resized = images.float()
        if images.shape[-2:] != (self.size, self.size):
            resized = functional.interpolate(
                resized, (self.size, self.size), mode="bilinear", antialias=True
            )  # (N, 3, H, W) -> (N, 3, size, size)
        return resized / 127.5 - 1

    def frozen(self, pixels: Tensor) -> Tensor:
        """Return back the pixels: nothing is frozen."""
        return pixels

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, D) from (N, 3, size, size)."""
        maps = self.convolutions(features)  # -> (N, 128, size / 16, size / 16)
        embedding: Tensor = self.projection(maps.flatten(1))  # -> (N, D)
        return embedding


class TinyText(nn.Module):
    """Token embeddings, one convolution over three neighbours, and the mean and maximum over the text.

    The convolution and maximum are those of Kim (2014), "Convolutional Neural Networks for Sentence
    Classification".
    """

    cache_key: str | None = None

    def __init__(self, vocabulary: Vocabulary, *, width: int, options: TinyTextOptions) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.length = options.length
        channels = options.channels
        self.embedding = nn.Embedding(len(vocabulary), channels)
        self.convolution = nn.Conv1d(channels, channels, 3, padding=1)
        self.projection = nn.Linear(2 * channels, width)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, length)."""
        return self.vocabulary.encode(texts, length=self.length)

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return back the ids: nothing is frozen."""
        return ids

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return (N, D) from ids and mask (N, L); what stands where the mask is False changes nothing."""
        real = mask[:, None]  # (N, 1, L)
        tokens = self.embedding(features).mT.masked_fill(~real, 0.0)  # (N, L) -> (N, L, C) -> (N, C, L)
        # Not below 0 where real, so that 0 for padding is never the maximum of anything.
        neighbours = functional.relu(self.convolution(tokens)).masked_fill(~real, 0.0)  # (N, C, L)
        mean = neighbours.sum(-1) / real.sum(-1).clamp(min=1)  # (N, C)
        embedding: Tensor = self.projection(torch.cat([mean, neighbours.amax(-1)], dim=-1))  # -> (N, D)
        return embedding

    def save_assets(self, folder: Path) -> None:
        """Write the learnt vocabulary."""
        self.vocabulary.save(folder / TOKENIZER)


class BagOfWords(nn.Module):
    """The mean of words' vectors by how often each word stands in the text, where words of one hash share a vector.

    Hashed words are those of Weinberger et al. (2009), "Feature Hashing for Large Scale Multitask Learning". What a
    text's words are never trains, and so their counts are the frozen half.
    """

    def __init__(self, vocabulary: Vocabulary, *, width: int, options: BowOptions) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.length = options.length
        self.buckets = options.buckets
        self.weighting = options.weighting
        self.vectors = nn.Linear(options.buckets, width)
        nn.init.normal_(self.vectors.weight)  # a table of vectors, as nn.Embedding begins

    @property
    def cache_key(self) -> str:
        """Digest what the counts depend on."""
        tokenizer = hashlib.sha256(self.vocabulary.tokenizer.to_str().encode()).hexdigest()
        return content_key({}, tokenizer=tokenizer, length=self.length, buckets=self.buckets, words=WORDS)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, length)."""
        return self.vocabulary.encode(texts, length=self.length)

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return how often a word of each hash stands in a text, (N, buckets), whatever its case."""
        counts = torch.zeros(len(ids), self.buckets)
        for row, text in enumerate(self.vocabulary.decode(ids)):
            for word in split_words(text):
                counts[row, zlib.crc32(word.encode()) % self.buckets] += 1
        return counts.to(ids.device)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return (N, D) from the counts (N, buckets)."""
        weights = features.log1p() if self.weighting == "log" else features
        # A text without a word has no vector but the bias.
        total = weights.sum(1, keepdim=True)  # (N, 1)
        embedding: Tensor = self.vectors(weights / total.masked_fill(total == 0, 1.0))  # (N, buckets) -> (N, D)
        return embedding

    def save_assets(self, folder: Path) -> None:
        """Write the learnt vocabulary."""
        self.vocabulary.save(folder / TOKENIZER)


def build_cnn(options: TinyCnnOptions, context: BuildContext) -> TinyCnn:
    """Build the visual encoder."""
    return TinyCnn(width=context.width, size=options.size)


def build_text(options: TinyTextOptions, context: BuildContext) -> TinyText:
    """Build the text encoder. Raises VsrError if there is no text to learn a vocabulary from."""
    vocabulary = learnt_vocabulary(context, size=options.vocabulary_size, lowercase=options.lowercase)
    return TinyText(vocabulary, width=context.width, options=options)


def build_bow(options: BowOptions, context: BuildContext) -> BagOfWords:
    """Build the bag of words, as `build_text` does."""
    vocabulary = learnt_vocabulary(context, size=options.vocabulary_size, lowercase=False)
    return BagOfWords(vocabulary, width=context.width, options=options)


def learnt_vocabulary(context: BuildContext, *, size: int, lowercase: bool) -> Vocabulary:
    """Learn a vocabulary from the training texts, or read that of a run back."""
    if context.assets is not None:
        return Vocabulary.load(context.assets / TOKENIZER)
    return learn_vocabulary(context.training_texts(), size=size, lowercase=lowercase)
