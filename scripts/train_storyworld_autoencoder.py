"""Train the autoencoder of `tokens` on storyworld's images, and write its weights into the package (float16, 900 kB).

    python scripts/train_storyworld_autoencoder.py [STORIES] [STEPS]

The stories are those of another random seed than the demo's, whose images it has not seen. It takes fifteen minutes on
one core. The weights that ship are of a prototype with the same layers and settings, after 6500 of its 8000 steps.
"""

from __future__ import annotations

import io
import sys
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from vsr_cli.api import TrainingFrames
from vsr_cli.data.images import fit_image
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.world import draw_world, scene_at
from vsr_plugins.image_decoders.tokens_autoencoder import SHIPPED, Autoencoder, train_autoencoder

SEED = 7
LEVELS, SIZE, PATCH = (5, 5, 5, 5), 64, 8


def draw(stories: int) -> NDArray[np.uint8]:
    """Return the images (n, 64, 64, 3) of some stories, as `vsr prepare --preset tiny` stores them."""
    illustrator = Illustrator(width=480, height=208)
    images = []
    for index in range(stories):
        world = draw_world(SEED, index)
        for t in range(len(world)):
            drawing = illustrator.draw(scene_at(world, t), sway=world.sway[t])
            images.append(fit_image(Image.open(io.BytesIO(drawing.jpeg)), SIZE, "stretch"))
    return np.stack(images)


def main(stories: int = 1200, steps: int = 8000) -> None:
    """Draw, train and write."""
    torch.manual_seed(0)
    images = draw(stories)
    autoencoder = Autoencoder(levels=LEVELS, image_size=SIZE, patch=PATCH)
    nothing = np.zeros((0, 0), np.float32)
    frames = TrainingFrames(
        texts=[""] * len(images),
        images=lambda rows: images[rows],
        visual=lambda: nothing,
        text=lambda: nothing,
        visual_trains=True,
        text_trains=True,
        story=np.fromiter(count(), np.int64, len(images)),
    )
    train_autoencoder(autoencoder, frames, steps=steps)
    save_file({name: tensor.half().contiguous() for name, tensor in autoencoder.state_dict().items()}, SHIPPED)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
