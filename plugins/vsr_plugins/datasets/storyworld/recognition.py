"""Reading an image of storyworld: its place, its hour and its characters, by a small network that ships with vsr.

`scripts/train_storyworld_recognizer.py` trains it on true images and writes its weights beside this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .cast import CHARACTERS, HOURS, PLACES

WEIGHTS = Path(__file__).with_name("recognizer.safetensors")
VERSION = 1
"""Of the weights, for signatures."""
SIZE = 64
"""Pixels a side of what the network reads; images of other sizes are resized."""
CHANNELS = (24, 48, 96, 64)
"""Of the convolutions, each of which halves the image."""
KINDS = (len(PLACES), len(HOURS), len(CHARACTERS))
"""Numbers of outputs: logits of the place, of the hour, and of each character on its own."""


@dataclass(frozen=True)
class Recognized:
    """What n images show."""

    places: NDArray[np.int64]
    """(n,), indices of `PLACES`."""
    hours: NDArray[np.int64]
    """(n,), indices of `HOURS`."""
    characters: NDArray[np.bool_]
    """(n, 8): which of `CHARACTERS` are seen, also in a thought."""


class Recognizer(nn.Module):
    """Four convolutions and a linear layer: (n, 3, 64, 64) in [0, 1] -> logits (n, 25)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in CHANNELS:
            width = 5 if before == 3 else 3
            layers += [nn.Conv2d(before, channels, width, stride=2, padding=width // 2), nn.ReLU()]
            before = channels
        side = SIZE >> len(CHANNELS)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side**2, sum(KINDS)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits (n, 25) of images (n, 3, 64, 64) in [0, 1]."""
        logits: Tensor = self.layers(pixels - 0.5)
        return logits


def fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize an image (H, W, 3) to what the network reads, (64, 64, 3)."""
    if image.shape[:2] == (SIZE, SIZE):
        return image
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def recognize(images: Sequence[NDArray[np.uint8]]) -> Recognized:
    """Recognize what images (H, W, 3) of storyworld show.

    Each image is read alone, so that no result depends on the others, and once, as baselines share images.
    """
    network, known = _trained()
    rows: list[NDArray[np.float32]] = []
    for image in images:
        pixels = np.ascontiguousarray(fitted(image))
        digest = hashlib.sha256(pixels.data).digest()
        if digest not in known:
            with torch.inference_mode():
                known[digest] = network(to_pixels(pixels[None]))[0].numpy()
        rows.append(known[digest])
    logits = np.array(rows, np.float32).reshape(len(images), sum(KINDS))
    places, hours, characters = np.split(logits, np.cumsum(KINDS)[:-1], axis=1)
    return Recognized(places.argmax(axis=1), hours.argmax(axis=1), characters > 0)


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """Convert images (n, 64, 64, 3) to what the network reads, (n, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255


@cache
def _trained() -> tuple[Recognizer, dict[bytes, NDArray[np.float32]]]:
    """Load the network, once in a process. Also return what it has read: by the digest of an image, its logits."""
    from safetensors.torch import load_file

    network = Recognizer()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False), {}
