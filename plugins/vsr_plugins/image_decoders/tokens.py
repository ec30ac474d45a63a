"""Image decoder `tokens`: generates the codes of an image from the words of the next text, or copies them.

Shapes: B stories, K context frames, n positions of an image, L words, C codes.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vsr_cli.api import BuildContext, Narrative, NextText, TrainingFrames
from vsr_cli.api.generation import random_generators

from . import TokensOptions
from .tokens_autoencoder import Autoencoder, read_autoencoder, train_autoencoder
from .tokens_transformer import Memory, TokenTransformer

LARGE = 128
"""Pixels of an image up to which a token is a patch of 8 by 8 by default."""
MOST_STORED = 50_000
"""Images whose codes are stored during training."""
NOISE = 1.0
"""Weight, at first, of the noise in the order in which codes are settled."""


class Tokens(nn.Module):
    """Masked codes of a frozen autoencoder, settled in a few parallel steps; see `TokenTransformer`.

    The transformer learns from true texts, and in prediction reads generated ones. It does not train on generated ones,
    since the text decoder trains at the same time and at first writes nonsense, and to generate a text takes longer
    than a training step.
    """

    def __init__(self, options: TokensOptions, context: BuildContext) -> None:
        super().__init__()
        self.options = options
        patch = options.patch or (8 if context.image_size <= LARGE else 16)
        self.autoencoder = Autoencoder(levels=options.levels, image_size=context.image_size, patch=patch)
        if options.autoencoder is not None and context.assets is None:
            read_autoencoder(self.autoencoder, options.autoencoder)
        self.autoencoder.requires_grad_(False)
        self.transformer = TokenTransformer(
            options, context, quantizer=self.autoencoder.quantizer, side=self.autoencoder.side
        )
        self._stored: dict[bytes, Tensor] = {}

    def train(self, mode: bool = True) -> Tokens:
        """Set the mode of the transformer; the autoencoder is frozen."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def fit(self, frames: TrainingFrames) -> None:
        """Train the autoencoder on the training images, unless a trained one was given."""
        if self.options.autoencoder is None:
            train_autoencoder(self.autoencoder, frames, steps=self.options.autoencoder_steps)
            self._stored.clear()

    def save_assets(self, folder: Path) -> None:
        """Write the autoencoder, for the option `autoencoder` of another run."""
        tensors = {name: tensor.contiguous() for name, tensor in self.autoencoder.state_dict().items()}
        save_file(tensors, folder / "autoencoder.safetensors")

    def loss(self, narrative: Narrative, text: NextText, target: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats of masked codes of the true images (B, 3, H, W).

        In training a random share of the codes is masked for half of the stories, as by Chang et al. For the others all
        are, so that it learns from the text what visible codes would show. In evaluation all are.
        """
        codes = self._codes(target)  # (B, n)
        visible, masked = torch.ones_like(text.mask), torch.ones_like(codes, dtype=torch.bool)
        if self.training:
            visible = _random_like(text.mask) >= self.options.word_dropout
            if self.options.guidance:
                visible &= _random_like(text.mask[:, :1]) >= self.options.text_dropout
            progress = (2 * _random_like(masked[:, :1]) - 1).clamp(min=0)  # (B, 1), 0 for half of the stories
            share = torch.cos(progress * math.pi / 2)
            order = _random_like(masked).argsort(dim=1).argsort(dim=1)  # (B, n)
            masked = order < (share * codes.shape[1]).ceil()
        memory = self.transformer.remember(narrative, text, self._context_codes(narrative), visible=visible)
        states = self.transformer(codes.masked_fill(masked, self.transformer.mask), memory)
        scores = self.transformer.log_probabilities(states, memory, masked)  # (N, C)
        return -scores.gather(1, codes[masked][:, None]).mean()

    @torch.no_grad()
    def generate(self, narrative: Narrative, text: NextText, seed: int) -> Tensor:
        """Return (B, 3, H, W) in [0, 1].

        Each step samples all codes that are still masked, and settles the likeliest; their number grows along a cosine.
        With guidance g, scores are (1 + g) times those with the text minus g times those without it (Ho and Salimans,
        2022, "Classifier-Free Diffusion Guidance").
        """
        context, every = self._context_codes(narrative), torch.ones_like(text.mask)
        memories = [
            self.transformer.remember(narrative, text, context, visible=visible)
            for visible in ((every, ~every) if self.options.guidance else (every,))
        ]
        generators = random_generators(narrative.context, seed=seed)
        positions, steps = self.transformer.positions, self.options.steps
        codes = torch.full((len(generators), positions), self.transformer.mask, device=text.ids.device)
        for step in range(1, steps + 1):
            numbers = torch.stack([torch.rand(2, positions, generator=generator) for generator in generators], dim=1)
            numbers = numbers.to(codes.device)  # (2, B, n)
            scores = self._scores(codes, memories)  # (B, n, C)
            sampled = _sample(scores / self.options.temperature, numbers[0])  # (B, n)
            certain = scores.gather(-1, sampled[..., None])[..., 0]
            certain = certain - NOISE * (1 - step / steps) * (-numbers[1].clamp(min=1e-6).log()).log()  # Gumbel noise
            masked = codes == self.transformer.mask
            sampled, certain = sampled.where(masked, codes), certain.masked_fill(~masked, math.inf)
            left = int(positions * math.cos(math.pi / 2 * step / steps))
            rank = certain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            codes = sampled.masked_fill(rank >= positions - left, self.transformer.mask)
        return self.autoencoder.decode(codes)

    def _scores(self, codes: Tensor, memories: list[Memory]) -> Tensor:
        """Return the log-probabilities (B, n, C), guided if there is a second memory, without the text."""
        every = torch.ones_like(codes, dtype=torch.bool)
        scores = [
            self.transformer.log_probabilities(self.transformer(codes, memory), memory, every) for memory in memories
        ]
        guided = scores[0] if len(scores) == 1 else torch.lerp(scores[1], scores[0], 1 + self.options.guidance)
        return guided.log_softmax(dim=-1).view(*codes.shape, -1)

    def _context_codes(self, narrative: Narrative) -> Tensor:
        """Return the codes (B, K, n) of the context's images."""
        images = narrative.context.images()  # (B, K, 3, H, W)
        return self._codes(images.flatten(0, 1)).view(*images.shape[:2], -1)

    def _codes(self, images: Tensor) -> Tensor:
        """Return the codes (N, n) of images (N, 3, H, W); in training on the CPU each image is encoded once only."""
        if not self.training or images.device.type != "cpu":
            return self.autoencoder.encode(images)
        pixels = (255 * images).round().to(torch.uint8).numpy()
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels]
        new = {key: row for row, key in enumerate(keys) if key not in self._stored}
        if len(self._stored) + len(new) > MOST_STORED:
            return self.autoencoder.encode(images)
        if new:
            encoded = self.autoencoder.encode(images[list(new.values())])
            self._stored.update(zip(new, encoded, strict=True))
        return torch.stack([self._stored[key] for key in keys])


def _random_like(mask: Tensor) -> Tensor:
    """Return uniform numbers in [0, 1) of a mask's shape, from torch's random numbers."""
    return torch.rand(mask.shape, device=mask.device)


def _sample(scores: Tensor, numbers: Tensor) -> Tensor:
    """Sample codes (B, n) from scores (B, n, C) by one number in [0, 1) for each."""
    sums = scores.softmax(dim=-1).cumsum(dim=-1)
    return (sums <= numbers[..., None] * sums[..., -1:]).sum(dim=-1).clamp(max=scores.shape[-1] - 1)
