"""Scenery that several places share, and the palette of them all. Numbers are units of the image."""

from __future__ import annotations

from random import Random

from .brush import Brush, Colour, mix

WARM: Colour = (255, 222, 128)
WHITE: Colour = (250, 246, 236)
GRASS: Colour = (142, 190, 98)
DEEP_GRASS: Colour = (104, 164, 92)
FAR: Colour = (158, 192, 190)
SEA: Colour = (64, 142, 176)
WOOD: Colour = (150, 104, 70)
DARK_WOOD: Colour = (108, 74, 56)
STONE: Colour = (186, 178, 170)
RED: Colour = (214, 84, 72)


def tree(brush: Brush, x: float, y: float, size: float, colour: Colour = DEEP_GRASS) -> None:
    """A round tree that stands at (x, y)."""
    brush.box(x - 1.8 * size, y - 20 * size, 3.6 * size, 20 * size, DARK_WOOD)
    brush.oval(x, y - 28 * size, 13 * size, 16 * size, colour)
    brush.oval(x - 4 * size, y - 32 * size, 6 * size, 8 * size, mix(colour, WHITE, 0.15))


def pine(brush: Brush, x: float, y: float, size: float, colour: Colour) -> None:
    """A fir that stands at (x, y)."""
    brush.box(x - 2 * size, y - 8 * size, 4 * size, 8 * size, DARK_WOOD)
    for n in range(3):
        half, base, top = (17 - 4 * n) * size, y - (6 + 13 * n) * size, y - (30 + 13 * n) * size
        brush.polygon([(x - half, base), (x, top), (x + half, base)], mix(colour, WHITE, 0.06 * n))


def tufts(brush: Brush, width: float, colour: Colour, *, flowers: tuple[Colour, ...] = (), seed: int) -> None:
    """Grass, and flowers if there are colours for them, over the ground in front."""
    chance = Random(seed)
    for _ in range(26):
        x, y = chance.uniform(0, width), chance.uniform(172, 204)
        for lean in (-2, 0, 2):
            brush.line([(x + lean * 0.6, y), (x + lean * 1.5, y - 5)], colour, width=1.1)
    for _ in range(16 if flowers else 0):
        x, y = chance.uniform(0, width), chance.uniform(170, 204)
        brush.line([(x, y), (x, y + 4)], colour, width=0.9)
        brush.oval(x, y, 2, 2, chance.choice(flowers))
        brush.oval(x, y, 0.8, 0.8, WARM)


def window(brush: Brush, lamps: Brush, x: float, y: float, width: float, height: float) -> None:
    """A window, dark by day and lit by its lamp."""
    brush.box(x, y, width, height, (84, 98, 124), radius=width / 3)
    lamps.box(x, y, width, height, WARM, radius=width / 3)


def waves(brush: Brush, width: float, top: float, bottom: float, *, seed: int) -> None:
    """Water from `top` to `bottom`, right across the image."""
    brush.box(-2, top, width + 4, bottom - top, SEA)
    brush.box(-2, top, width + 4, (bottom - top) * 0.3, mix(SEA, WHITE, 0.14))
    chance = Random(seed)
    for _ in range(34):
        x, y = chance.uniform(0, width), chance.uniform(top + 4, bottom - 3)
        brush.line([(x, y), (x + chance.uniform(8, 24), y)], mix(SEA, WHITE, 0.34), width=1.0)


def sail(brush: Brush, x: float, y: float, size: float, colour: Colour) -> None:
    """A sailing boat on the water at (x, y)."""
    brush.line([(x, y), (x, y - 30 * size)], DARK_WOOD, width=1.4 * size)
    brush.polygon([(x + 1.5 * size, y - 30 * size), (x + 1.5 * size, y - 4), (x + 17 * size, y - 4)], WHITE)
    brush.polygon([(x - 1.5 * size, y - 25 * size), (x - 1.5 * size, y - 4), (x - 12 * size, y - 4)], colour)
    brush.polygon(
        [
            (x - 17 * size, y - 2),
            (x + 20 * size, y - 2),
            (x + 13 * size, y + 6 * size),
            (x - 11 * size, y + 6 * size),
        ],
        DARK_WOOD,
    )
