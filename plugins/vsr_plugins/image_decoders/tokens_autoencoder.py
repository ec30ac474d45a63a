"""The autoencoder of `tokens`: an image becomes a grid of codes, and the codes an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import TrainingFrames, VsrError, read_tensors

from .resize_convolution import norm_and_relu

SHIPPED = Path(__file__).with_name("storyworld-autoencoder.safetensors")
"""Trained on images of storyworld by scripts/train_storyworld_autoencoder.py."""
CHANNELS = {2: 24, 4: 48, 8: 64, 16: 96, 32: 128}
"""Channels by the number of pixels between two positions of a feature map."""
BLOCKS = 2
"""Residual blocks at the positions of the codes."""
BATCH = 16
LEARNING_RATE = 3e-3
MAX_GRAD_NORM = 1.0
WARMUP_RATIO = 0.025
MOST_PASSES = 50
"""Most passes over the training images, however many steps were asked for."""
ABSOLUTE = 0.02
"""Weight of the mean absolute error beside the mean squared error."""


class ScalarQuantizer(nn.Module):
    """Finite scalar quantization: each channel of a latent is bounded and rounded to a few levels.

    Mentzer et al. (2023), "Finite Scalar Quantization: VQ-VAE Made Simple". A code is the combination of the levels.
    The gradient passes the rounding unchanged.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        assert all(level % 2 for level in levels), "an even number of levels would need an offset"
        self.levels = tuple(levels)
        self.codes = math.prod(levels)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the nearest levels in [-1, 1], of latents (B, d, h, w)."""
        half = self._column([(level - 1) / 2 for level in self.levels], latent)
        bounded = torch.tanh(latent) * half
        return (bounded + (bounded.round() - bounded).detach()) / half

    def codes_of(self, quantized: Tensor) -> Tensor:
        """Return codes (B, h, w) int64 of levels (B, d, h, w)."""
        half = self._column([(level - 1) / 2 for level in self.levels], quantized)
        return ((quantized * half + half).round().long() * self._column(self._places(), quantized)).sum(1)

    def levels_of(self, codes: Tensor) -> Tensor:
        """Return levels in [-1, 1], (B, d, h, w), of codes (B, h, w)."""
        digits = codes[:, None] // self._column(self._places(), codes) % self._column(self.levels, codes)
        return 2 * digits / self._column([level - 1 for level in self.levels], codes) - 1

    def _places(self) -> list[int]:
        return [math.prod(self.levels[:place]) for place in range(len(self.levels))]

    def _column(self, values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, device=like.device)[:, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*_norm_and_silu(channels), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, C, h, w)."""
        changed: Tensor = features + self.layers(features)
        return changed


class Autoencoder(nn.Module):
    """An image as codes, one for each patch of pixels, and back. Most of the work is done at a quarter of the size.

    An image whose size is no multiple of a patch is padded at the right and bottom, and cropped again.
    """

    def __init__(self, *, levels: Sequence[int], image_size: int, patch: int) -> None:
        super().__init__()
        self.quantizer = ScalarQuantizer(levels)
        self.image_size = image_size
        self.side = -(-image_size // patch)  # rounded up
        self.padding = self.side * patch - image_size
        scales = [2**power for power in range(2, patch.bit_length())]  # 4 ... patch
        smallest = CHANNELS[patch]
        blocks = [ResidualBlock(smallest) for _ in range(2 * BLOCKS)]
        encoder: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(3 * 4 * 4, CHANNELS[4], 3, padding=1)]
        for before, after in pairwise(scales):
            encoder += [
                *_norm_and_silu(CHANNELS[before]),
                nn.Conv2d(CHANNELS[before], CHANNELS[after], 4, stride=2, padding=1),
            ]
        encoder += [*blocks[:BLOCKS], *_norm_and_silu(smallest), nn.Conv2d(smallest, len(levels), 1)]
        self.encoder = nn.Sequential(*encoder)
        decoder: list[nn.Module] = [nn.Conv2d(len(levels), smallest, 3, padding=1), *blocks[BLOCKS:]]
        for before, after in zip(reversed(scales), [*reversed(scales[:-1]), 2], strict=True):
            decoder += [*_norm_and_silu(CHANNELS[before]), nn.Upsample(scale_factor=2)]
            decoder += [nn.Conv2d(CHANNELS[before], CHANNELS[after], 3, padding=1)]
            if after == 4:
                decoder.append(ResidualBlock(CHANNELS[after]))
        decoder += [*_norm_and_silu(CHANNELS[2]), nn.Conv2d(CHANNELS[2], 3 * 2 * 2, 3, padding=1), nn.PixelShuffle(2)]
        self.decoder = nn.Sequential(*decoder)

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstruction of images (B, 3, H, W) in [0, 1]; it may leave that range."""
        return self._image(self.quantizer(self._latent(images)))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, side * side) int64 of images (B, 3, H, W) in [0, 1]."""
        with torch.autocast(images.device.type, enabled=False):  # rounding would change codes
            codes: Tensor = self.quantizer.codes_of(self.quantizer(self._latent(images.float()))).flatten(1)
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] of codes (B, side * side).

        One by one, since convolutions of several images round differently: the same codes are the same image.
        """
        levels = self.quantizer.levels_of(codes.view(-1, self.side, self.side))
        return torch.cat([self._image(each) for each in levels.chunk(len(levels))]).clamp(0, 1)

    def _latent(self, images: Tensor) -> Tensor:
        padded = functional.pad(images, (0, self.padding, 0, self.padding), mode="replicate")
        latent: Tensor = self.encoder(2 * padded - 1)
        return latent

    def _image(self, levels: Tensor) -> Tensor:
        image: Tensor = self.decoder(levels) / 2 + 0.5
        return image[..., : self.image_size, : self.image_size]


def _norm_and_silu(channels: int) -> list[nn.Module]:
    return [norm_and_relu(channels)[0], nn.SiLU()]


def train_autoencoder(autoencoder: Autoencoder, frames: TrainingFrames, *, steps: int) -> None:
    """Train by steps of 16 images, with warm-up and cosine schedule. Random numbers follow torch's seed.

    There are at most so many steps that each image is used 50 times.
    """
    steps = min(steps, math.ceil(MOST_PASSES * len(frames.texts) / BATCH))
    autoencoder.train().requires_grad_(True)
    autoencoder.to(memory_format=torch.channels_last)
    device = next(autoencoder.parameters()).device
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    warmup = max(1, round(WARMUP_RATIO * steps))
    for step in frames.count_steps(steps, "training the autoencoder of images"):
        rate = min(1, (step + 1) / warmup) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
        rows = torch.randint(len(frames.texts), (BATCH,)).tolist()
        pixels = torch.from_numpy(frames.images(sorted(rows))).to(device)  # (16, H, W, 3)
        target = pixels.movedim(-1, 1).float() / 255  # -> (16, 3, H, W), channels last in memory
        reconstructed = autoencoder(target)
        loss = functional.mse_loss(reconstructed, target) + ABSOLUTE * functional.l1_loss(reconstructed, target)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(autoencoder.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
    # Convolutions round differently in another layout: the one that a loaded autoencoder has.
    autoencoder.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)


def read_autoencoder(autoencoder: Autoencoder, name: str) -> None:
    """Read weights: those that ship for 'storyworld', or a .safetensors file that a run has saved.

    Raises VsrError if the file cannot be read or is of an autoencoder with other options.
    """
    path = SHIPPED if name == "storyworld" else Path(name)
    where = f"image decoder tokens: image_decoder.autoencoder={name}"
    remedy = "name 'storyworld' or a file autoencoder.safetensors of a run, or leave it out to train one"
    if not path.is_file():
        raise VsrError(f"{where}: there is no such file; {remedy}")
    tensors = {key: tensor.float() for key, tensor in read_tensors(path, remedy=remedy).items()}
    shapes = {key: tensor.shape for key, tensor in autoencoder.state_dict().items()}
    if {key: tensor.shape for key, tensor in tensors.items()} != shapes:
        raise VsrError(
            f"{where}: is no autoencoder, or one of other levels or another patch; "
            "set image_decoder.levels and patch as there"
        )
    autoencoder.load_state_dict(tensors)
