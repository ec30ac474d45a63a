"""The things that friends look for, carry and give, each a small image of its own in full daylight."""

from __future__ import annotations

from .brush import Brush, mix
from .cast import Thing
from .figures import CREAM, INK

THING = (44.0, 44.0)
"""Width and height in units of a thing's image; the thing fills the middle."""


def draw_thing(brush: Brush, thing: Thing, *, broken: bool) -> None:
    """Draw a thing around the middle of its image; a broken one wears a plaster."""
    x, y = THING[0] / 2, THING[1] / 2
    PAINT[thing.noun](brush, x, y)
    if broken:
        for a, b in (((-7, -4), (5, 6)), ((-7, 6), (5, -4))):
            brush.line([(x + a[0], y + a[1]), (x + b[0], y + b[1])], (250, 214, 176), width=4)
        brush.box(x - 3, y - 1, 4, 4, (232, 178, 140), radius=1)


def _kite(brush: Brush, x: float, y: float) -> None:
    red = (222, 62, 58)
    brush.line([(x, y + 12), (x - 5, y + 16), (x + 1, y + 20)], CREAM, width=1)
    brush.polygon([(x, y - 19), (x + 13, y - 4), (x, y + 14), (x - 13, y - 4)], red)
    brush.polygon([(x, y - 19), (x + 13, y - 4), (x, y - 4)], mix(red, CREAM, 0.35))
    brush.polygon([(x, y + 14), (x - 13, y - 4), (x, y - 4)], mix(red, INK, 0.2))
    brush.polygon([(x - 9, y + 13), (x - 5, y + 16), (x - 9, y + 19)], (250, 204, 90))


def _lantern(brush: Brush, x: float, y: float) -> None:
    brush.arc(x, y - 11, 7, 8, INK, angles=(180, 360), width=1.6)
    brush.box(x - 7, y - 12, 14, 4, (92, 80, 84), radius=1.5)
    brush.box(x - 9, y - 8, 18, 20, (252, 208, 60), radius=5)
    brush.oval(x, y + 2, 4, 6, (255, 246, 190))
    brush.box(x - 9, y + 11, 18, 4, (92, 80, 84), radius=1.5)


def _book(brush: Brush, x: float, y: float) -> None:
    green = (46, 142, 92)
    brush.box(x - 12, y - 14, 25, 29, mix(green, INK, 0.3), radius=2)
    brush.box(x - 9, y - 12, 21, 25, CREAM, radius=1)
    brush.box(x - 12, y - 14, 22, 27, green, radius=2)
    brush.box(x - 12, y - 14, 4, 27, mix(green, INK, 0.25), radius=1)
    brush.box(x - 5, y - 8, 12, 3, (250, 224, 140), radius=1)
    brush.oval(x + 1, y + 3, 4, 4, (250, 224, 140))


def _umbrella(brush: Brush, x: float, y: float) -> None:
    blue = (52, 112, 206)
    brush.line([(x, y - 18), (x, y + 14)], (120, 84, 60), width=2)
    brush.arc(x + 3, y + 14, 3, 4, (120, 84, 60), angles=(0, 180), width=2)
    brush.pie(x, y, 19, 17, blue, start=180, end=360)
    brush.pie(x, y, 7, 17, mix(blue, CREAM, 0.45), start=180, end=360)
    for dx in (-12.7, 0, 12.7):
        brush.pie(x + dx, y, 6.3, 3, blue if dx else mix(blue, CREAM, 0.45), start=0, end=180)


def _teapot(brush: Brush, x: float, y: float) -> None:
    white, trim = (250, 250, 250), (120, 150, 190)
    edge = mix(trim, white, 0.35)
    brush.arc(x - 11, y + 2, 8, 9, edge, angles=(60, 300), width=5)
    brush.polygon([(x + 8, y + 10), (x + 20.5, y - 7.5), (x + 15, y - 10.5), (x + 6, y)], edge)
    brush.oval(x, y + 3, 14.2, 12.2, edge)
    brush.arc(x - 11, y + 2, 7, 8, white, angles=(60, 300), width=3)
    brush.polygon([(x + 8, y + 8), (x + 19, y - 7), (x + 15, y - 9), (x + 7, y)], white)
    brush.oval(x, y + 3, 13, 11, white)
    brush.oval(x, y - 7, 7, 3, trim)
    brush.oval(x, y - 10, 2.4, 2.4, trim)
    brush.oval(x, y + 4, 4, 4, trim)
    brush.oval(x, y + 4, 1.6, 1.6, white)


def _bell(brush: Brush, x: float, y: float) -> None:
    gold = (232, 176, 44)
    brush.arc(x, y - 15, 4, 4, mix(gold, INK, 0.3), angles=(0, 360), width=2)
    brush.oval(x, y + 12, 4, 4, mix(gold, INK, 0.4))
    brush.pie(x, y - 1, 11, 14, gold, start=180, end=360)
    brush.polygon([(x - 11, y - 2), (x + 11, y - 2), (x + 15, y + 10), (x - 15, y + 10)], gold)
    brush.box(x - 16, y + 8, 32, 4, mix(gold, INK, 0.15), radius=2)
    brush.line([(x - 5, y - 8), (x - 7, y + 4)], mix(gold, CREAM, 0.6), width=2)


def _drum(brush: Brush, x: float, y: float) -> None:
    pink = (238, 112, 160)
    brush.box(x - 14, y - 7, 28, 19, pink)
    brush.oval(x, y + 12, 14, 4, pink)
    for n in range(4):
        brush.line([(x - 14 + 7 * n, y - 4), (x - 10.5 + 7 * n, y + 12), (x - 7 + 7 * n, y - 4)], CREAM, width=1.2)
    brush.oval(x, y - 7, 14, 4.6, CREAM)
    brush.line([(x - 3, y - 8), (x - 12, y - 19)], (150, 104, 70), width=1.6)
    brush.line([(x + 4, y - 8), (x + 12, y - 19)], (150, 104, 70), width=1.6)


def _boat(brush: Brush, x: float, y: float) -> None:
    wood = (158, 100, 58)
    brush.line([(x, y + 6), (x, y - 18)], mix(wood, INK, 0.3), width=2)
    brush.polygon([(x + 1.5, y - 18), (x + 15, y + 2), (x + 1.5, y + 2)], CREAM)
    brush.polygon([(x - 1.5, y - 13), (x - 11, y + 2), (x - 1.5, y + 2)], (244, 196, 120))
    brush.polygon([(x - 18, y + 5), (x + 18, y + 5), (x + 11, y + 15), (x - 12, y + 15)], wood)
    brush.polygon([(x - 18, y + 5), (x + 18, y + 5), (x + 16, y + 8), (x - 16, y + 8)], mix(wood, CREAM, 0.35))


PAINT = {
    "kite": _kite,
    "lantern": _lantern,
    "book": _book,
    "umbrella": _umbrella,
    "teapot": _teapot,
    "bell": _bell,
    "drum": _drum,
    "boat": _boat,
}
