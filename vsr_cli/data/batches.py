"""Batches: an index gather from arrays, with no worker processes and nothing decoded twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Context, Target, TextDecoder, TextEncoder, TokenBatch, VisualEncoder
from ..config import CONTEXT_FRAMES
from .features import Features, RowsOf, image_tensor, text_rows, visual_rows
from .prepared import Frames, Windows
from .shards import Rows


class Contexts:
    """Makes the batches of contexts of some windows. It has no way to reach a target."""

    def __init__(
        self,
        frames: Frames,
        windows: Windows,
        *,
        visual: VisualEncoder,
        text: TextEncoder,
        features: Features,
        device: torch.device,
    ) -> None:
        self._image_rows = windows.image_rows[:, :CONTEXT_FRAMES]
        self._text_rows = windows.text_rows[:, :CONTEXT_FRAMES]
        self._story = np.unique(windows.stories, return_inverse=True)[1].astype(np.int64)
        self._real = ~windows.repeated[:, :CONTEXT_FRAMES]
        self._frames = frames
        self._features = features
        self._compute_visual = visual_rows(frames, visual, device)
        self._compute_text = text_rows(features.tokens, text, device)
        self._device = device

    def __len__(self) -> int:
        return len(self._image_rows)

    def batch(self, indices: NDArray[np.int64]) -> Context:
        """Give the contexts of the windows with these indices (B,)."""
        image_rows, text_rows = self._image_rows[indices], self._text_rows[indices]  # (B, K)
        return Context(
            visual=self._gather(self._features.visual, self._compute_visual, image_rows),
            text=self._gather(self._features.text, self._compute_text, text_rows),
            text_ids=self._tensor(self._features.tokens.ids[text_rows]),
            text_mask=self._tensor(self._features.tokens.mask[text_rows]),
            mask=self._tensor(self._real[indices]),
            last_image=unit_image(self._frames.images.gather(image_rows[:, -1]), self._device),
            story=self._tensor(self._story[indices]),
            text_row=self._tensor(text_rows),
        )

    def _gather(self, kept: Rows | None, compute: RowsOf, rows: NDArray[np.int64]) -> torch.Tensor:
        """Give the features of rows (B, K): gathered where they are kept, else computed, (B, K, *F)."""
        if kept is not None:
            return self._tensor(kept.gather(rows)).float()
        computed = compute(rows.reshape(-1))  # (B*K, *F)
        return computed.reshape(*rows.shape, *computed.shape[1:])

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


class Targets:
    """Makes the batches of targets of some windows, for losses alone."""

    def __init__(self, frames: Frames, windows: Windows, *, decoder: TextDecoder, device: torch.device) -> None:
        self._image_rows = windows.image_rows[:, CONTEXT_FRAMES]
        texts = [frames.texts[row] for row in windows.text_rows[:, CONTEXT_FRAMES]]
        self._tokens: TokenBatch = decoder.tokenize(texts)
        self._frames = frames
        self._device = device

    def batch(self, indices: NDArray[np.int64]) -> Target:
        """Give the targets of the windows with these indices (B,). Columns that are all padding are cut."""
        mask = self._tokens.mask[indices]
        longest = int(mask.sum(axis=1).max())
        return Target(
            ids=torch.from_numpy(self._tokens.ids[indices][:, :longest]).to(self._device),
            mask=torch.from_numpy(mask[:, :longest]).to(self._device),
            image=unit_image(self._frames.images.gather(self._image_rows[indices]), self._device),
        )


def unit_image(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Turn images (B, H, W, 3) uint8 into (B, 3, H, W) float in [0, 1]."""
    return image_tensor(images, device).float() / 255
