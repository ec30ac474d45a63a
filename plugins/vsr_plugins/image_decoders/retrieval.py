"""Image decoder `retrieval`: the training image that the next_frame objective scores highest."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, Options, TrainingFrames

from ..retrieval_memory import Memory, query_of, untrainable

LARGEST_MEMORY = 4000
"""Most images stored in a run, evenly spaced over the training images."""
QUALITY = 90
"""JPEG quality of the stored images."""


class RetrievalImageDecoder(nn.Module):
    """Return the training image with the highest cosine to the query for the next image. Nothing here trains."""

    needs_next = True

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        self.memory = Memory(context.assets)

    def fit(self, frames: TrainingFrames) -> None:
        """Store the training images as JPEG. Raises VsrError if the visual encoder has no frozen features."""
        if frames.visual_trains:
            raise untrainable("visual", "--visual mobilenet_v2 or another encoder with frozen layers")
        count = len(frames.texts)
        rows = np.unique(np.linspace(0, count - 1, min(LARGEST_MEMORY, count)).round().astype(np.int64))
        files = [_as_jpeg(frames.images([row])[0]) for row in rows.tolist()]
        kept = {
            "files": torch.from_numpy(np.frombuffer(b"".join(files), np.uint8).copy()),
            "ends": torch.from_numpy(np.cumsum([len(file) for file in files])),
        }
        self.memory.remember(torch.from_numpy(frames.visual()[rows]), kept)

    def save_assets(self, folder: Path) -> None:
        """Write the images and their vectors."""
        self.memory.save(folder)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return the best image of each story, (B, 3, H, W) in [0, 1]."""
        query = query_of(narrative)
        best = self.memory.best(query.visual.detach(), query.image_keys)  # (B,)
        images = np.stack([self._image(row) for row in best.tolist()])  # (B, H, W, 3)
        return torch.from_numpy(images).to(best.device).movedim(-1, 1).float() / 255

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of two images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)

    def _image(self, row: int) -> NDArray[np.uint8]:
        ends = self.memory.kept["ends"]
        start = int(ends[row - 1]) if row else 0
        file = self.memory.kept["files"][start : int(ends[row])]
        with Image.open(io.BytesIO(file.numpy().tobytes())) as image:
            return np.asarray(image.convert("RGB"))


def _as_jpeg(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
