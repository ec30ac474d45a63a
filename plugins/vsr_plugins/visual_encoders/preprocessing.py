"""Image preprocessing of pretrained networks: size, crop, interpolation and normalization."""

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
    """The input size and normalization of a network. Raises VsrError if they are not supported."""

    size: int
    """Side of the input in pixels."""
    resize: int
    """Side in pixels to which the image is resized, before a center crop to `size`."""
    mean: tuple[float, ...]
    """Means of red, green and blue in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviations."""
    interpolation: str

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise VsrError(
                f"visual encoder: the network needs an unsupported interpolation ({self.interpolation}); "
                f"choose a network with {' or '.join(INTERPOLATIONS)}"
            )
        if len(self.mean) != 3 or len(self.std) != 3:
            raise VsrError(
                f"visual encoder: the network has {len(self.mean)} input channels, not 3; choose another network"
            )
        assert self.resize >= self.size, "a crop is smaller than the image"

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
        """Write it to a file that `load` reads."""
        (folder / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | None) -> Preprocessing | None:
        """Return the preprocessing of a run from its assets, or None if there is none."""
        if folder is None or not (folder / FILE).exists():
            return None
        facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(**{**facts, "mean": tuple(facts["mean"]), "std": tuple(facts["std"])})
