"""The light of each hour: the colours of the sky, sun or moon and stars, and the light on the land."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from .brush import Brush, Colour, Point, glow, gradient

HEIGHT = 208.0
"""Height of every image in units; its width in units follows from its shape."""


@dataclass(frozen=True, kw_only=True)
class Hour:
    """How one hour of the day looks."""

    sky: tuple[Colour, ...]
    """From the top of the image to the horizon."""
    light: Colour
    """What falls on the land; white is full daylight."""
    orb: Point
    """Where the sun or the moon stands: share of the width, and units from the top."""
    orb_colour: Colour
    orb_radius: float
    cloud: Colour
    stars: int = 0
    moon: bool = False

    @property
    def lamps(self) -> bool:
        """Return whether windows and lamps are lit."""
        return self.stars > 0


HOURS_OF_LIGHT = (
    Hour(  # dawn
        sky=((126, 146, 200), (240, 178, 178), (255, 214, 170)),
        light=(250, 214, 208),
        orb=(0.62, 104),
        orb_colour=(255, 236, 190),
        orb_radius=15,
        cloud=(252, 206, 196),
    ),
    Hour(  # early in the morning
        sky=((126, 184, 226), (196, 222, 228), (255, 232, 190)),
        light=(255, 242, 222),
        orb=(0.55, 74),
        orb_colour=(255, 240, 176),
        orb_radius=14,
        cloud=(255, 246, 234),
    ),
    Hour(  # later in the morning
        sky=((92, 172, 226), (146, 206, 236), (214, 238, 240)),
        light=(255, 252, 240),
        orb=(0.52, 48),
        orb_colour=(255, 236, 140),
        orb_radius=13,
        cloud=(255, 255, 255),
    ),
    Hour(  # noon
        sky=((62, 152, 224), (112, 190, 238), (190, 230, 246)),
        light=(255, 255, 255),
        orb=(0.50, 26),
        orb_colour=(255, 244, 168),
        orb_radius=13,
        cloud=(255, 255, 255),
    ),
    Hour(  # in the afternoon
        sky=((84, 158, 216), (150, 204, 226), (244, 232, 200)),
        light=(255, 248, 226),
        orb=(0.46, 46),
        orb_colour=(255, 226, 120),
        orb_radius=13,
        cloud=(255, 250, 240),
    ),
    Hour(  # late in the afternoon
        sky=((104, 150, 200), (206, 200, 190), (255, 212, 140)),
        light=(255, 226, 184),
        orb=(0.43, 76),
        orb_colour=(255, 214, 104),
        orb_radius=15,
        cloud=(255, 232, 200),
    ),
    Hour(  # sunset
        sky=((92, 84, 150), (226, 110, 116), (255, 176, 92)),
        light=(250, 180, 150),
        orb=(0.42, 108),
        orb_colour=(255, 226, 128),
        orb_radius=18,
        cloud=(240, 128, 128),
    ),
    Hour(  # in the evening
        sky=((42, 48, 104), (90, 78, 142), (196, 124, 150)),
        light=(152, 138, 186),
        orb=(0.57, 62),
        orb_colour=(250, 236, 214),
        orb_radius=10,
        cloud=(112, 88, 146),
        stars=24,
        moon=True,
    ),
    Hour(  # at night
        sky=((10, 16, 48), (24, 36, 86), (54, 72, 128)),
        light=(98, 112, 168),
        orb=(0.55, 36),
        orb_colour=(250, 244, 216),
        orb_radius=14,
        cloud=(38, 52, 104),
        stars=110,
        moon=True,
    ),
)


def paint_sky(hour: Hour, *, size: tuple[int, int]) -> Image.Image:
    """Return the sky, RGBA of `size` (width, height) pixels, with sun or moon, clouds and stars."""
    unit = size[1] / HEIGHT
    width = size[0] / unit
    sky = gradient((size[0], round(size[1] * 0.68)), hour.sky)
    full = Image.new("RGBA", size, (*hour.sky[-1], 255))
    full.paste(sky, (0, 0))
    x, y = hour.orb[0] * width, hour.orb[1]
    full.alpha_composite(glow(size, (x * unit, y * unit), radius=110 * unit, colour=hour.orb_colour, strength=0.55))
    brush = Brush(width, HEIGHT, pixels_per_unit=unit)
    chance = Random(7)  # the same stars and clouds in every image
    for _ in range(hour.stars):
        r = chance.choice((0.5, 0.7, 1.1))
        brush.oval(chance.uniform(0, width), chance.uniform(2, 112), r, r, (255, 250, 226))
    brush.oval(x, y, hour.orb_radius, hour.orb_radius, hour.orb_colour)
    if hour.moon:
        dark = (228, 220, 190)
        for dx, dy, r in ((-0.35, -0.2, 0.2), (0.3, 0.3, 0.26), (0.25, -0.45, 0.12)):
            crater = r * hour.orb_radius
            brush.oval(x + dx * hour.orb_radius, y + dy * hour.orb_radius, crater, crater, dark)
    for cx, cy, s in ((0.10, 34, 1.1), (0.34, 20, 0.8), (0.70, 44, 1.0), (0.91, 24, 1.25)):
        _cloud(brush, cx * width, cy, s, hour.cloud)
    full.alpha_composite(brush.finish())
    return full


def _cloud(brush: Brush, x: float, y: float, size: float, colour: Colour) -> None:
    for dx, dy, r in ((-15, 0, 5), (-6, -4, 8), (6, -3, 7), (15, 0, 5)):
        brush.oval(x + dx * size, y + dy * size, r * size, r * size, colour)
    brush.box(x - 20 * size, y - 1 * size, 40 * size, 6.5 * size, colour, radius=3 * size)
