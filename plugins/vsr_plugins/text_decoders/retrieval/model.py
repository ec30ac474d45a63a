"""Decoders that choose among the training frames: what a model knows of the next frame, with no drawing or writing.

Each has nothing to learn: the objective `next_frame` does. So the losses they give have no gradient.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import (
    BuildContext,
    Decoding,
    Narrative,
    NextQuery,
    TokenBatch,
    TrainingFrames,
    Vocabulary,
    VsrError,
)

from . import RetrievalImageOptions, RetrievalTextOptions
from .memory import Memory

QUALITY = 90
"""Of the pictures that are kept, as JPEG: about a fifteenth of their size in memory."""


class RetrievalText(nn.Module):
    """Answers with the training text whose key is nearest to the query for the next text."""

    needs_next = True

    def __init__(self, vocabulary: Vocabulary, *, length: int, assets: Path | None) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.length = length
        self.memory = Memory(assets)

    def fit(self, frames: TrainingFrames) -> None:
        """Keep the distinct training texts. Raises VsrError if their space is yet to be trained."""
        if frames.text_trains:
            raise VsrError(_moving("text", "--text distilbert or another encoder with a frozen half"))
        first = {text: at for at, text in reversed(list(enumerate(frames.texts)))}
        places = sorted(first.values())
        tokens = self.tokenize([frames.texts[place] for place in places])
        self.memory.remember(torch.from_numpy(frames.text()[places]), {"ids": torch.from_numpy(tokens.ids)})

    def save_assets(self, folder: Path) -> None:
        """Write the texts and their vectors."""
        self.memory.save(folder)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos unless cut, without bos."""
        return self.vocabulary.encode_targets(texts, length=self.length)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos."""
        return self.vocabulary.decode(ids)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return 0, a scalar: no text is written token by token, so that none has a probability."""
        return narrative.summary.new_zeros(())

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Return the ids (B, T) of the best text. There is one best, however one would decode."""
        asked = _asked(narrative)
        best = self.memory.best(asked.text, asked.text_keys)  # (B,)
        return self.memory.kept["ids"].to(best.device)[best]


class RetrievalImage(nn.Module):
    """Answers with the training image whose key is nearest to the query for the next image."""

    needs_next = True

    def __init__(self, *, image_size: int, most: int, assets: Path | None) -> None:
        super().__init__()
        self.image_size = image_size
        self.most = most
        self.memory = Memory(assets)

    def fit(self, frames: TrainingFrames) -> None:
        """Keep the training images, as JPEG. Raises VsrError if their space is yet to be trained."""
        if frames.visual_trains:
            raise VsrError(_moving("visual", "--visual mobilenet_v2 or another encoder with a frozen half"))
        count = len(frames.texts)
        places = np.unique(np.linspace(0, count - 1, min(self.most, count)).round().astype(np.int64))
        files = [_as_jpeg(frames.images([place])[0]) for place in places.tolist()]
        kept = {
            "files": torch.from_numpy(np.frombuffer(b"".join(files), np.uint8).copy()),
            "ends": torch.from_numpy(np.cumsum([len(file) for file in files])),
        }
        self.memory.remember(torch.from_numpy(frames.visual()[places]), kept)

    def save_assets(self, folder: Path) -> None:
        """Write the pictures and their vectors."""
        self.memory.save(folder)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return the best image of each story, (B, 3, H, W) in [0, 1]."""
        asked = _asked(narrative)
        best = self.memory.best(asked.visual.detach(), asked.image_keys)  # (B,)
        pictures = np.stack([self._picture(place) for place in best.tolist()])  # (B, H, W, 3)
        return torch.from_numpy(pictures).to(best.device).movedim(-1, 1).float() / 255

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of two images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)

    def _picture(self, place: int) -> NDArray[np.uint8]:
        ends = self.memory.kept["ends"]
        start = int(ends[place - 1]) if place else 0
        file = self.memory.kept["files"][start : int(ends[place])]
        with Image.open(io.BytesIO(file.numpy().tobytes())) as picture:
            return np.asarray(picture.convert("RGB"))


def _as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _asked(narrative: Narrative) -> NextQuery:
    assert narrative.next is not None, "a model is not built without the objective that this decoder needs"
    return narrative.next


def _moving(space: str, remedy: str) -> str:
    return (
        f"retrieval: the {space} encoder trains from its first layer, so that nothing can be found by it; use {remedy}"
    )


def build_text(options: RetrievalTextOptions, context: BuildContext) -> RetrievalText:
    """Build the decoder over the text encoder's vocabulary."""
    assert context.vocabulary is not None, "a decoder is built after the text encoder"
    return RetrievalText(context.vocabulary, length=options.length, assets=context.assets)


def build_image(options: RetrievalImageOptions, context: BuildContext) -> RetrievalImage:
    """Build the decoder for the prepared images' size."""
    return RetrievalImage(image_size=context.image_size, most=options.most, assets=context.assets)
