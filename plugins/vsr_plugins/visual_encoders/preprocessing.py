"""Preprocessing of images for a network: size, crop, normalization."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vsr_cli.api import VsrError

if TYPE_CHECKING:
    from torch import Tensor

INTERPOLATIONS = ("bilinear", "bicubic")
FILE = "preprocessing.json"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The size and colours that a network was trained on. Raises VsrError if they cannot be made here."""

    size: int
    """Pixels a side that the network is given."""
    resize: int
    """Pixels a side that the whole image is resized to; what is more than `size` is cut off around it."""
    mean: tuple[float, ...]
    """Of red, green and blue in [0, 1], subtracted."""
    std: tuple[float, ...]
    """What is divided by then."""
    interpolation: str

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise VsrError(
                f"visual encoder: images cannot be resized as the network expects ({self.interpolation}); "
                f"take a network that resizes by {' or '.join(INTERPOLATIONS)}"
            )
        if len(self.mean) != 3 or len(self.std) != 3:
            raise VsrError(
                f"visual encoder: the network does not read colours ({len(self.mean)} channels); take another network"
            )
        assert self.resize >= self.size, "nothing to cut off"

    def __call__(self, images: Tensor) -> Tensor:
        """Return (N, 3, size, size) from images (N, 3, H, W) uint8."""
        from torch.nn import functional

        pixels = images.float()
        if images.shape[-2:] != (self.resize, self.resize):
            pixels = functional.interpolate(
                pixels, (self.resize, self.resize), mode=self.interpolation, antialias=True
            ).clamp(0, 255)  # (N, 3, H, W) -> (N, 3, resize, resize); bicubic overshoots
        border = round((self.resize - self.size) / 2)
        pixels = pixels[..., border : border + self.size, border : border + self.size]  # -> (N, 3, size, size)
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (pixels / 255 - mean) / std

    def save(self, folder: Path) -> None:
        """Write it to a file that `kept` reads."""
        (folder / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def kept(cls, folder: Path | None) -> Preprocessing | None:
        """Return what a run was trained with, from its assets. None where there is nothing."""
        if folder is None or not (folder / FILE).exists():
            return None
        facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(**{**facts, "mean": tuple(facts["mean"]), "std": tuple(facts["std"])})
