"""Drawing: a transparent layer for flat shapes, in units of the image, and the light on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLE = 3
"""Shapes are drawn this many times larger and averaged down, for smooth edges."""


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that is `share` of the way from `a` to `b`."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


class Brush:
    """Draws on one transparent layer. Coordinates are in units, x to the right and y down."""

    def __init__(self, width: float, height: float, *, pixels_per_unit: float) -> None:
        self.width, self.height = width, height
        self._scale = pixels_per_unit * SUPERSAMPLE
        self._size = (max(1, round(width * pixels_per_unit)), max(1, round(height * pixels_per_unit)))
        self._layer = Image.new("RGBA", (self._size[0] * SUPERSAMPLE, self._size[1] * SUPERSAMPLE))
        self._draw = ImageDraw.Draw(self._layer)

    def polygon(self, points: Sequence[Point], colour: Colour, *, alpha: int = 255) -> None:
        """Fill a polygon; `alpha` below 255 replaces what is there with something one can see through."""
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in points], fill=(*colour, alpha))

    def box(self, x: float, y: float, width: float, height: float, colour: Colour, *, radius: float = 0) -> None:
        """Fill a rectangle whose upper left corner is (x, y), its corners rounded."""
        s = self._scale
        self._draw.rounded_rectangle((x * s, y * s, (x + width) * s, (y + height) * s), radius=radius * s, fill=colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, alpha: int = 255) -> None:
        """Fill an ellipse around (x, y); `alpha` as in `polygon`."""
        s = self._scale
        self._draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=(*colour, alpha))

    def pie(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, start: float, end: float) -> None:
        """Fill a slice of an ellipse, from one angle to another in degrees, clockwise from the right."""
        s = self._scale
        corners = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
        self._draw.pieslice(corners, start, end, fill=colour)

    def arc(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, angles: Point, width: float) -> None:
        """Draw part of an ellipse's outline, from one angle to another as in `pie`."""
        s = self._scale
        corners = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
        self._draw.arc(corners, *angles, fill=colour, width=max(1, round(width * s)))

    def line(self, points: Sequence[Point], colour: Colour, *, width: float) -> None:
        """Draw a line with round ends."""
        s = self._scale
        self._draw.line([(x * s, y * s) for x, y in points], colour, max(1, round(width * s)), joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, colour)

    def land(self, skyline: Sequence[Point], colour: Colour) -> None:
        """Fill everything below a smooth line through some points, from left to right."""
        xs = np.linspace(0, self.width, 97)
        px, py = np.array([p[0] for p in skyline]), np.array([p[1] for p in skyline])
        where = np.clip(np.searchsorted(px, xs, side="right") - 1, 0, len(px) - 2)
        share = np.clip((xs - px[where]) / (px[where + 1] - px[where]), 0, 1)
        ease = (1 - np.cos(np.pi * share)) / 2  # flat at each point, so that pieces join smoothly
        ys = py[where] * (1 - ease) + py[where + 1] * ease
        line = list(zip(xs.tolist(), ys.tolist(), strict=True))
        self.polygon([*line, (self.width, self.height), (0, self.height)], colour)

    def finish(self) -> Image.Image:
        """Return the layer at its own size, RGBA."""
        return self._layer.resize(self._size, Image.Resampling.BOX)


def lit(layer: Image.Image, light: Colour) -> Image.Image:
    """Return an RGBA layer under coloured light: white leaves it as it is."""
    pixels: NDArray[np.float32] = np.asarray(layer).astype(np.float32)
    pixels[..., :3] *= np.array(light, dtype=np.float32) / 255
    return Image.fromarray(pixels.round().astype(np.uint8), "RGBA")


def gradient(size: tuple[int, int], stops: Sequence[Colour]) -> Image.Image:
    """Return an RGBA image (width, height) that fades from the first colour at the top to the last below."""
    at = np.linspace(0, 1, size[1])
    marks = np.linspace(0, 1, len(stops))
    column = np.stack([np.interp(at, marks, channel) for channel in zip(*stops, strict=True)], axis=1)  # (H, 3)
    rows = np.broadcast_to(column[:, None, :], (size[1], size[0], 3))  # (H, W, 3)
    return Image.fromarray(rows.round().astype(np.uint8), "RGB").convert("RGBA")


def glow(size: tuple[int, int], centre: Point, *, radius: float, colour: Colour, strength: float) -> Image.Image:
    """Return an RGBA layer (width, height) with soft light around a point, in pixels; strength in [0, 1]."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    alpha = np.clip(1 - distance, 0, 1) ** 2 * strength * 255  # (H, W)
    layer = np.empty((size[1], size[0], 4), dtype=np.uint8)
    layer[..., :3] = colour
    layer[..., 3] = alpha.round()
    return Image.fromarray(layer, "RGBA")
