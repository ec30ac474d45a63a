"""Text decoder `retrieval`: the training text that the next_frame objective scores highest."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vsr_cli.api import BuildContext, Decoding, Narrative, TrainingFrames

from ..retrieval_memory import Memory, query_of, untrainable
from . import RetrievalOptions
from .whole_texts import WholeTextDecoder


class RetrievalTextDecoder(WholeTextDecoder):
    """Return the training text with the highest cosine to the query for the next text. Nothing here trains."""

    needs_next = True
    caution = "the text decoder retrieval only repeats a text of the training stories: it writes nothing new"

    def __init__(self, options: RetrievalOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length)
        self.memory = Memory(context.assets)

    def fit(self, frames: TrainingFrames) -> None:
        """Store the distinct training texts. Raises VsrError if the text encoder has no frozen features."""
        if frames.text_trains:
            raise untrainable("text", "--text distilbert or another encoder with frozen layers")
        first = {text: at for at, text in reversed(list(enumerate(frames.texts)))}
        rows = sorted(first.values())
        characters = self._characters([frames.texts[row] for row in rows], torch.device("cpu"))
        self.memory.remember(torch.from_numpy(frames.text()[rows]), {"ids": characters.int()})

    def save_assets(self, folder: Path) -> None:
        """Write the texts and their vectors."""
        self.memory.save(folder)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return 0, a scalar: texts are not generated token by token, so they have no probability."""
        return narrative.summary.new_zeros(())

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Return the ids (B, T) of the best text. The decoding method has no effect."""
        query = query_of(narrative)
        best = self.memory.best(query.text, query.text_keys)  # (B,)
        return self.memory.kept["ids"].to(best.device)[best].long()
