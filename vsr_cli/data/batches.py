"""Batches: rows gathered by index from arrays, without worker processes or decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Context, Target, TargetFeatures, TextDecoder, TextEncoder, VisualEncoder
from .cache.encoding import RowsOf, text_rows, visual_rows
from .cache.extraction import Features
from .prepared_types import Frames, Windows
from .scratch import tokenized
from .shards import Rows
from .transfer import to_device

MODEL_SHARE = 0.6
"""Share of the memory of a device that all resident arrays together leave free for the model."""

Take = Callable[[NDArray[np.int64]], torch.Tensor]
"""Returns rows by index, of any shape: (*indices, *row), on the device."""


class Contexts:
    """Creates batches of contexts of some windows. It has no access to targets."""

    def __init__(
        self,
        frames: Frames,
        windows: Windows,
        *,
        visual: VisualEncoder,
        text: TextEncoder,
        features: Features,
        device: torch.device,
        images: Take | None = None,
    ) -> None:
        """Open the contexts of some windows. `images` returns those of their last frames, if they are shared."""
        self._image_rows = windows.image_rows[:, :-1]
        self._text_rows = windows.text_rows[:, :-1]
        self._story = np.unique(windows.stories, return_inverse=True)[1].astype(np.int64)
        self._real = ~windows.repeated[:, :-1]
        self._tokens = features.tokens
        self._visual = _features(features.visual, visual_rows(frames, visual, device), self._image_rows, device)
        self._text = _features(features.text, text_rows(features.tokens, text, device), self._text_rows, device)
        self._last_images = images or taking(frames.images, self._image_rows[:, -1], device)
        self._frames = frames
        self._device = device

    def __len__(self) -> int:
        return len(self._image_rows)

    def longest_first(self) -> NDArray[np.int64]:
        """Return the indices of the windows (W,) by the length of their texts, so that a batch is hardly padded."""
        rows, back = np.unique(self._text_rows, return_inverse=True)
        characters = np.asarray([len(self._frames.texts[row]) for row in rows.tolist()], np.int64)
        lengths = (characters[back.reshape(self._text_rows.shape)] * self._real).sum(axis=1)  # (W,)
        return np.argsort(-lengths, kind="stable")

    def batch(self, indices: NDArray[np.int64]) -> Context:
        """Return the contexts of the windows with these indices (B,)."""
        image_rows, text_rows = self._image_rows[indices], self._text_rows[indices]  # (B, K)
        return Context(
            visual=self._visual(image_rows),
            text=self._text(text_rows),
            text_ids=to_device(self._tokens.ids[text_rows], self._device),
            text_mask=to_device(self._tokens.mask[text_rows], self._device),
            mask=to_device(self._real[indices], self._device),
            last_image=_unit(self._last_images(image_rows[:, -1])),
            story=to_device(self._story[indices], self._device),
            text_row=to_device(text_rows, self._device),
            texts=[[self._frames.texts[row] for row in rows] for rows in text_rows.tolist()],
            images=lambda: _unit(to_device(self._frames.images.gather(image_rows), self._device)),
        )


class Targets:
    """Creates batches of targets of some windows, for losses only."""

    def __init__(
        self,
        frames: Frames,
        windows: Windows,
        *,
        decoder: TextDecoder,
        device: torch.device,
        features: TargetFeatureSource | None = None,
        images: Take | None = None,
    ) -> None:
        """Open the targets of some windows. `images` returns their images, if they are shared."""
        self._image_rows = windows.image_rows[:, -1]
        self._features = features
        self._texts = frames.texts
        self._text_rows = windows.text_rows[:, -1]
        self._tokens = tokenized(decoder.tokenize, _Taken(frames.texts, self._text_rows))
        self._images = images or taking(frames.images, self._image_rows, device)
        self._device = device

    def batch(self, indices: NDArray[np.int64]) -> Target:
        """Return the targets of the windows with these indices (B,), without columns of padding only."""
        mask = self._tokens.mask[indices]
        longest = int(mask.sum(axis=1).max())
        return Target(
            ids=to_device(self._tokens.ids[indices][:, :longest], self._device),
            mask=to_device(mask[:, :longest], self._device),
            image=_unit(self._images(self._image_rows[indices])),
            texts=[self._texts[row] for row in self._text_rows[indices].tolist()],
            features=self._features.batch(indices) if self._features else None,
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of tokens of the target of each window, (W,)."""
        counts: NDArray[np.int64] = self._tokens.mask.sum(axis=1)
        return counts


class _Taken(Sequence[str]):
    """The texts of some rows (n,), read on access."""

    def __init__(self, texts: Sequence[str], rows: NDArray[np.int64]) -> None:
        self._texts = texts
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._texts[int(self._rows[index])]


class TargetFeatureSource:
    """Creates batches of the features of targets, for losses that need them."""

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
        self._image_rows = windows.image_rows[:, -1]
        self._text_rows = windows.text_rows[:, -1]
        self._position = windows.starts + windows.image_rows.shape[1] - 1
        self._tokens = features.tokens
        self._visual = _features(features.visual, visual_rows(frames, visual, device), self._image_rows, device)
        self._text = _features(features.text, text_rows(features.tokens, text, device), self._text_rows, device)
        self._device = device

    def batch(self, indices: NDArray[np.int64]) -> TargetFeatures:
        """Return the features of the targets of the windows with these indices (B,)."""
        image_rows, text_rows = self._image_rows[indices], self._text_rows[indices]  # (B,)
        return TargetFeatures(
            visual=self._visual(image_rows),
            text=self._text(text_rows),
            text_ids=to_device(self._tokens.ids[text_rows], self._device),
            text_mask=to_device(self._tokens.mask[text_rows], self._device),
            image_row=to_device(image_rows, self._device),
            text_row=to_device(text_rows, self._device),
            place=to_device(self._position[indices], self._device),
        )


def taking(rows: Rows, used: NDArray[np.int64], device: torch.device, *, budget: int | None = None) -> Take:
    """Return the function that copies rows to the device.

    Only the rows `used` may be requested. They are gathered from memory maps each time; a device with its own memory
    holds them all if they take at most `budget` bytes (None: a share of its free memory), and each batch indexes them.
    """
    distinct = np.unique(used)
    if budget is None:
        budget = _free_bytes(device)
    first = rows.gather(distinct[:1])
    if not len(distinct) or first.nbytes * len(distinct) > budget:
        return lambda indices: to_device(rows.gather(indices), device)
    resident = torch.empty((len(distinct), *first.shape[1:]), dtype=torch.from_numpy(first).dtype, device=device)
    step = max(1, 2**26 // first.nbytes)  # 64 MiB on the host at a time
    for start in range(0, len(distinct), step):
        part = rows.gather(distinct[start : start + step])
        resident[start : start + len(part)] = to_device(part, device)
    position = np.full(int(distinct[-1]) + 1, -1, np.int64)
    position[distinct] = np.arange(len(distinct))
    return lambda indices: resident[to_device(position[indices], device)]


def _free_bytes(device: torch.device) -> int:
    """Return the maximum size in bytes of one more resident array; 0 for a device without its own memory."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return max(0, free - int(MODEL_SHARE * total))


def _features(cached: Rows | None, compute: RowsOf, used: NDArray[np.int64], device: torch.device) -> Take:
    """Return the function that returns features (B, K, *F) of rows (B, K): cached if available, otherwise computed."""
    if cached is not None:
        take = taking(cached, used, device)
        return lambda rows: take(rows).float()

    def computed(rows: NDArray[np.int64]) -> torch.Tensor:
        features = compute(rows.reshape(-1))  # (B*K, *F)
        return features.reshape(*rows.shape, *features.shape[1:])

    return computed


def _unit(images: torch.Tensor) -> torch.Tensor:
    """Turn images (B, H, W, 3) uint8 into (B, 3, H, W) float in [0, 1]."""
    return images.movedim(-1, -3).float() / 255
