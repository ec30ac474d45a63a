"""Batches: an index gather from arrays, with no worker processes and nothing decoded twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Context, Target, TargetFeatures, TextDecoder, TextEncoder, TokenBatch, VisualEncoder
from .cache.extraction import Features, RowsOf, text_rows, visual_rows
from .prepared_types import Frames, Windows
from .shards import Rows

RESIDENT_SHARE = 0.4
"""Of a device's free memory, how much one array may take to lie there for good; what is left is the model's."""

Take = Callable[[NDArray[np.int64]], torch.Tensor]
"""Returns rows by index, of any shape: (*indices, *row), on the device."""


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
        self._image_rows = windows.image_rows[:, :-1]
        self._text_rows = windows.text_rows[:, :-1]
        self._story = np.unique(windows.stories, return_inverse=True)[1].astype(np.int64)
        self._real = ~windows.repeated[:, :-1]
        self._tokens = features.tokens
        self._visual = _features(features.visual, visual_rows(frames, visual, device), self._image_rows, device)
        self._text = _features(features.text, text_rows(features.tokens, text, device), self._text_rows, device)
        self._last_images = taking(frames.images, self._image_rows[:, -1], device)
        self._frames = frames
        self._device = device

    def __len__(self) -> int:
        return len(self._image_rows)

    def batch(self, indices: NDArray[np.int64]) -> Context:
        """Return the contexts of the windows with these indices (B,)."""
        image_rows, text_rows = self._image_rows[indices], self._text_rows[indices]  # (B, K)
        return Context(
            visual=self._visual(image_rows),
            text=self._text(text_rows),
            text_ids=_tensor(self._tokens.ids[text_rows], self._device),
            text_mask=_tensor(self._tokens.mask[text_rows], self._device),
            mask=_tensor(self._real[indices], self._device),
            last_image=_unit(self._last_images(image_rows[:, -1])),
            story=_tensor(self._story[indices], self._device),
            text_row=_tensor(text_rows, self._device),
            texts=[[self._frames.texts[row] for row in rows] for rows in text_rows.tolist()],
            images=lambda: _unit(_tensor(self._frames.images.gather(image_rows), self._device)),
        )


class Targets:
    """Makes the batches of targets of some windows, for losses alone."""

    def __init__(
        self,
        frames: Frames,
        windows: Windows,
        *,
        decoder: TextDecoder,
        device: torch.device,
        features: TargetFeatureSource | None = None,
    ) -> None:
        self._image_rows = windows.image_rows[:, -1]
        self._features = features
        texts = [frames.texts[row] for row in windows.text_rows[:, -1].tolist()]
        self._tokens: TokenBatch = decoder.tokenize(texts)
        self._images = taking(frames.images, self._image_rows, device)
        self._device = device

    def batch(self, indices: NDArray[np.int64]) -> Target:
        """Return the targets of the windows with these indices (B,). Columns that are all padding are cut."""
        mask = self._tokens.mask[indices]
        longest = int(mask.sum(axis=1).max())
        return Target(
            ids=_tensor(self._tokens.ids[indices][:, :longest], self._device),
            mask=_tensor(mask[:, :longest], self._device),
            image=_unit(self._images(self._image_rows[indices])),
            features=self._features.batch(indices) if self._features else None,
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many tokens each window's target has, (W,)."""
        counts: NDArray[np.int64] = self._tokens.mask.sum(axis=1)
        return counts


class TargetFeatureSource:
    """Makes the batches of the targets' features, for losses that ask for them."""

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
        self._place = windows.starts + windows.image_rows.shape[1] - 1
        self._token_mask = features.tokens.mask
        self._visual = _features(features.visual, visual_rows(frames, visual, device), self._image_rows, device)
        self._text = _features(features.text, text_rows(features.tokens, text, device), self._text_rows, device)
        self._device = device

    def batch(self, indices: NDArray[np.int64]) -> TargetFeatures:
        """Return the features of the targets of the windows with these indices (B,)."""
        image_rows, text_rows = self._image_rows[indices], self._text_rows[indices]  # (B,)
        return TargetFeatures(
            visual=self._visual(image_rows),
            text=self._text(text_rows),
            text_mask=_tensor(self._token_mask[text_rows], self._device),
            image_row=_tensor(image_rows, self._device),
            text_row=_tensor(text_rows, self._device),
            place=_tensor(self._place[indices], self._device),
        )


def taking(rows: Rows, used: NDArray[np.int64], device: torch.device, *, budget: int | None = None) -> Take:
    """Return the function that copies rows to the device.

    Of the rows, only `used` will be asked for. They are gathered from their maps each time; on a device with memory of
    its own they are laid there once, if they take no more than `budget` bytes (None: a share of what is free), and each
    batch is then an index into them.
    """
    distinct = np.unique(used)
    if budget is None:
        budget = _free_bytes(device)
    first = rows.gather(distinct[:1])
    if not len(distinct) or first.nbytes * len(distinct) > budget:
        return lambda wanted: _tensor(rows.gather(wanted), device)
    resident = torch.empty((len(distinct), *first.shape[1:]), dtype=torch.from_numpy(first).dtype, device=device)
    step = max(1, 2**26 // first.nbytes)  # 64 MiB on the host at a time
    for start in range(0, len(distinct), step):
        part = rows.gather(distinct[start : start + step])
        resident[start : start + len(part)] = _tensor(part, device)
    place = np.full(int(distinct[-1]) + 1, -1, np.int64)
    place[distinct] = np.arange(len(distinct))
    return lambda wanted: resident[_tensor(place[wanted], device)]


def _free_bytes(device: torch.device) -> int:
    """Return how many bytes one array may occupy on a device; 0 where its memory is the host's."""
    return int(RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def _features(kept: Rows | None, compute: RowsOf, used: NDArray[np.int64], device: torch.device) -> Take:
    """Make the function that gives features (B, K, *F) of rows (B, K): taken where they are kept, else computed."""
    if kept is not None:
        take = taking(kept, used, device)
        return lambda rows: take(rows).float()

    def computed(rows: NDArray[np.int64]) -> torch.Tensor:
        features = compute(rows.reshape(-1))  # (B*K, *F)
        return features.reshape(*rows.shape, *features.shape[1:])

    return computed


def _tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _unit(images: torch.Tensor) -> torch.Tensor:
    """Turn images (B, H, W, 3) uint8 into (B, 3, H, W) float in [0, 1]."""
    return images.movedim(-1, -3).float() / 255
