"""A small autoencoder, trained on the training images before the model that generates in its latent space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import TrainingFrames

from .resize_convolution import norm_and_relu

LATENT_CHANNELS = 4
CHANNELS = (16, 32, 64)
"""Channels at a half, a quarter and an eighth of the image size."""
NOISE = 0.1
"""Standard deviation of the noise added to a latent in [-1, 1] in training."""
BATCH = 16
LEARNING_RATE = 2e-3


class LatentDecoder(nn.Module):
    """From a latent to an image, by three upsampling steps.

    A latent is bounded and, in training, noisy, so that predicted latents, which are never exact, still decode to an
    image (Ghosh et al., 2020, "From Variational to Deterministic Autoencoders", section 3.1).
    """

    latent_channels = LATENT_CHANNELS

    def __init__(self, *, image_size: int) -> None:
        super().__init__()
        sizes = [image_size]
        for _ in CHANNELS:
            sizes.insert(0, -(-sizes[0] // 2))  # half, rounded up
        self.latent_size = sizes[0]
        layers: list[nn.Module] = []
        channels = LATENT_CHANNELS
        for fewer, size in zip(reversed(CHANNELS), sizes[1:], strict=True):
            layers += [nn.Conv2d(channels, fewer, 3, padding=1), *norm_and_relu(fewer), nn.Upsample(size=(size, size))]
            channels = fewer
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1), nn.Sigmoid())

    def forward(self, latent: Tensor) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from (B, 4, H / 8, W / 8)."""
        latent = torch.tanh(latent)
        if self.training:
            latent = latent + NOISE * torch.randn_like(latent)
        image: Tensor = self.layers(latent)
        return image


def make_encoder() -> nn.Sequential:
    """Return the encoder from an image to its latent, three convolutions of stride 2."""
    layers: list[nn.Module] = []
    channels = 3
    for more in CHANNELS:
        layers += [nn.Conv2d(channels, more, 3, stride=2, padding=1), *norm_and_relu(more)]
        channels = more
    return nn.Sequential(*layers, nn.Conv2d(channels, LATENT_CHANNELS, 3, padding=1))


def train_decoder(frames: TrainingFrames, *, image_size: int, steps: int, device: torch.device) -> LatentDecoder:
    """Train an autoencoder by steps of 16 images, and return its decoder. Random numbers follow torch's seed."""
    encoder, decoder = make_encoder().to(device), LatentDecoder(image_size=image_size).to(device)
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
    for _ in range(steps):
        rows = torch.randint(len(frames.texts), (BATCH,)).tolist()
        pixels = torch.from_numpy(frames.images(sorted(rows))).to(device)  # (16, H, W, 3)
        target = pixels.movedim(-1, 1).float() / 255  # -> (16, 3, H, W)
        loss = functional.mse_loss(decoder(encoder(target)), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return decoder
