"""Text encoders `tiny-text` and `bow`: a small convolutional network and a bag of words, trained from scratch."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, TokenBatch, Vocabulary, content_key, split_words

from . import BowOptions, TinyTextOptions
from .learned_vocabulary import learn_vocabulary

TOKENIZER = "tokenizer.json"
WORDS = "every-script"
"""Version of the word splitting of `bow` (`split_words`), part of the key of its cached counts."""


class LearnedVocabularyEncoder(nn.Module):
    """A text encoder over a vocabulary learned from the training texts, or read from the assets of a run."""

    def __init__(self, context: BuildContext, *, size: int, length: int) -> None:
        """Raises VsrError if there is no text to learn a vocabulary from."""
        super().__init__()
        if context.assets is not None:
            self.vocabulary = Vocabulary.load(context.assets / TOKENIZER)
        else:
            self.vocabulary = learn_vocabulary(context.training_texts(), size=size)
        self.length = length

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, length)."""
        return self.vocabulary.encode(texts, length=self.length)

    def save_assets(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.vocabulary.save(folder / TOKENIZER)


class TinyText(LearnedVocabularyEncoder):
    """Token embeddings, one convolution of width three, and mean and maximum pooling over the text.

    Convolution and maximum pooling as in Kim (2014), "Convolutional Neural Networks for Sentence
    Classification".
    """

    cache_key: str | None = None

    def __init__(self, options: TinyTextOptions, context: BuildContext) -> None:
        size, channels = options.vocabulary_size, options.channels
        super().__init__(context, size=size, length=options.length)
        self.embedding = nn.Embedding(len(self.vocabulary), channels)
        self.convolution = nn.Conv1d(channels, channels, 3, padding=1)
        self.projection = nn.Linear(2 * channels, context.width)

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the ids: nothing is frozen."""
        return ids

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return (N, D) from ids and mask (N, L); masked positions have no effect."""
        real = mask[:, None]  # (N, 1, L)
        tokens = self.embedding(features).mT.masked_fill(~real, 0.0)  # (N, L) -> (N, L, C) -> (N, C, L)
        # ReLU makes real values at least 0, so that the 0 of padding never changes a maximum.
        activations = functional.relu(self.convolution(tokens)).masked_fill(~real, 0.0)  # (N, C, L)
        mean = activations.sum(-1) / real.sum(-1).clamp(min=1)  # (N, C)
        embedding: Tensor = self.projection(torch.cat([mean, activations.amax(-1)], dim=-1))  # -> (N, D)
        return embedding


class BagOfWords(LearnedVocabularyEncoder):
    """The weighted mean of the vectors of a text's words; words with the same hash share a vector.

    Weinberger et al. (2009), "Feature Hashing for Large Scale Multitask Learning". The word counts do not train, so
    they are the frozen features.
    """

    def __init__(self, options: BowOptions, context: BuildContext) -> None:
        super().__init__(context, size=options.vocabulary_size, length=options.length)
        self.buckets = options.buckets
        self.vectors = nn.Linear(options.buckets, context.width)
        nn.init.normal_(self.vectors.weight)  # the initialization of nn.Embedding

    @property
    def cache_key(self) -> str:
        """Return a digest of all that the counts depend on."""
        tokenizer = hashlib.sha256(self.vocabulary.tokenizer.to_str().encode()).hexdigest()
        return content_key({}, tokenizer=tokenizer, length=self.length, buckets=self.buckets, words=WORDS)

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the counts of hashed lower-case words in each text, (N, buckets)."""
        counts = torch.zeros(len(ids), self.buckets)
        for row, text in enumerate(self.vocabulary.decode(ids)):
            for word in split_words(text):
                counts[row, zlib.crc32(word.encode()) % self.buckets] += 1
        return counts.to(ids.device)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return (N, D) from the counts (N, buckets)."""
        # A text without words gets the bias alone.
        total = features.sum(1, keepdim=True)  # (N, 1)
        embedding: Tensor = self.vectors(features / total.masked_fill(total == 0, 1.0))  # (N, buckets) -> (N, D)
        return embedding
