"""Train the network that reads storyworld's images, and write its weights into the package (float16, 270 kB).

    python scripts/train_storyworld_recognizer.py [IMAGES] [EPOCHS]

The network judges generated images, so it must read what is drawn, and nothing that only occurs together with it.
Scenes are therefore sampled at random and not from stories: every beat at every hour, and tents of other colours than
their owner's. A tenth of the images has no characters, and another tenth the mean of eight scenes' characters, which
are no one: an average of everyone must not score. Some images are slightly blurred, shifted or noisy, as generated ones
are. It takes ten minutes on one core.
"""

from __future__ import annotations

import io
import random
import sys
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from vsr_cli.config.choices import Resize
from vsr_cli.data.images import fit_image
from vsr_plugins.datasets.storyworld.cast import CHARACTERS, ERRANDS, HOURS, PLACES, THINGS, Character
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.recognition import KINDS, WEIGHTS, Recognizer, fitted, to_pixels
from vsr_plugins.datasets.storyworld.world import BEATS, Scene

SEED = 1
BATCH = 64
LEARNING_RATE = 2e-3
SHAPES = ((480, 208), (480, 208), (320, 208), (208, 208))
"""Of the drawings; half of them have the default shape."""
FITS: tuple[tuple[Resize, int], ...] = (
    ("stretch", 64),
    ("stretch", 64),
    ("stretch", 128),
    ("stretch", 224),
    ("letterbox", 64),
    ("crop", 64),
)
GHOST = 8
"""Scenes whose mean shows no one."""


class Shuffled(Illustrator):
    """An illustrator whose tents have the colours of anyone, and whose friends can be left out."""

    def __init__(self, *, width: int, height: int, chance: random.Random) -> None:
        super().__init__(width=width, height=height)
        self.chance = chance
        self.empty = False

    def _tent(self, friend: Character, hour_number: int) -> Image.Image:
        return super()._tent(self.chance.choice(CHARACTERS), hour_number)

    def _friend(self, friend: Character, hour_number: int, *, reach: bool) -> Image.Image:
        figure = super()._friend(friend, hour_number, reach=reach)
        return Image.new("RGBA", figure.size) if self.empty else figure

    def _face(self, friend: Character) -> Image.Image:
        face = super()._face(friend)
        return Image.new("RGBA", face.size) if self.empty else face


def random_scene(chance: random.Random) -> Scene:
    """Return any beat at any place and hour, with any two friends."""
    friend, other = chance.sample(CHARACTERS, 2)
    beat, place = chance.choice(BEATS), chance.choice(PLACES)
    return Scene(
        hour=chance.randrange(len(HOURS)),
        beat=beat,
        errand=chance.choice(ERRANDS),
        friend=friend,
        other=other,
        thing=chance.choice(THINGS),
        home=place,
        goal=place,
        other_home=place,
        other_goal=place,
    )


def draw(count: int) -> tuple[NDArray[np.uint8], Tensor]:
    """Return images (n, 64, 64, 3) and their targets (n, 2 + 8): indices of place and hour, then the characters."""
    chance = random.Random(SEED)
    illustrators = [Shuffled(width=width, height=height, chance=chance) for width, height in SHAPES]
    images = np.empty((count, 64, 64, 3), np.uint8)
    targets = torch.zeros(count, 2 + len(CHARACTERS))
    for index in range(count):
        scene, illustrator = random_scene(chance), chance.choice(illustrators)
        resize, size = chance.choice(FITS)
        kind = chance.random()
        scenes = [scene]
        if 0.1 <= kind < 0.2:  # the same scene with many characters
            for _ in range(GHOST - 1):
                friend, other = chance.sample(CHARACTERS, 2)
                scenes.append(replace(scene, friend=friend, other=other))
        illustrator.empty = kind < 0.1
        sway = chance.random()
        drawings = [Image.open(io.BytesIO(illustrator.draw(each, sway=sway).jpeg)) for each in scenes]
        drawn = [fit_image(each, size, resize) for each in drawings]
        images[index] = fitted(np.mean(drawn, axis=0).round().astype(np.uint8))
        targets[index, 0], targets[index, 1] = PLACES.index(scene.place), scene.hour
        if kind >= 0.2:
            for each in (scene.friend, scene.other):
                targets[index, 2 + CHARACTERS.index(each)] = 1
    return images, targets


def disturb(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, blur or make noisy some of the images (n, 3, 64, 64)."""
    kind = torch.rand(len(pixels), generator=generator)
    dy, dx = torch.randint(-2, 3, (2,), generator=generator).tolist()
    padded = functional.pad(pixels, (2, 2, 2, 2), mode="replicate")
    shifted = padded[:, :, 2 + dy : 66 + dy, 2 + dx : 66 + dx]
    blurred = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noisy = (pixels + 0.04 * torch.randn(pixels.shape, generator=generator)).clamp(0, 1)
    found = pixels.clone()
    for low, each in ((0.2, shifted), (0.4, (pixels + blurred) / 2), (0.6, blurred), (0.8, noisy)):
        chosen = (kind >= low) & (kind < low + 0.2)
        found[chosen] = each[chosen]
    return found


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of three cross-entropies."""
    places, hours, characters = logits.split(KINDS, dim=1)
    return (
        functional.cross_entropy(places, targets[:, 0].long())
        + functional.cross_entropy(hours, targets[:, 1].long())
        + functional.binary_cross_entropy_with_logits(characters, targets[:, 2:]) * len(CHARACTERS)
    )


def main() -> None:
    """Train and write the weights."""
    count, epochs = (int(each) for each in (*sys.argv[1:], "24000", "14")[:2])
    images, targets = draw(count)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = Recognizer()
    steps = epochs * (count // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(count, generator=generator)[: count // BATCH * BATCH].split(BATCH):
            loss = loss_of(network(disturb(to_pixels(images[rows.numpy()]), generator)), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / (count // BATCH):.4f}", flush=True)
    save_file({name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size} bytes")


if __name__ == "__main__":
    main()
