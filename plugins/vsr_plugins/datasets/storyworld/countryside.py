"""The places out in the country: windmill, forest, bridge and mountain, in full daylight.

The landmark stands in the left part of the image, and the ground at the right is left free for the friends.
Numbers are units of the image (208 high); `w` is its width. Lamps and lit windows go on a layer apart.
"""

from __future__ import annotations

import math
from random import Random

from .brush import Brush, mix
from .scenery import DARK_WOOD, DEEP_GRASS, GRASS, RED, WARM, WHITE, WOOD, pine, tree, tufts, window


def windmill(brush: Brush, lamps: Brush, w: float) -> None:
    """A windmill over fields of wheat."""
    brush.land([(0, 118), (0.25 * w, 100), (0.6 * w, 128), (0.85 * w, 104), (w, 116)], (176, 204, 150))
    brush.land([(0, 136), (0.22 * w, 118), (0.6 * w, 144), (w, 124)], (226, 196, 92))
    for n in range(9):
        x = 0.60 * w + n * 24
        brush.line([(x, 136), (x + 36, 168)], (206, 172, 74), width=1.4)
    brush.land([(0, 152), (0.22 * w, 132), (0.55 * w, 162), (w, 150)], GRASS)
    brush.polygon([(82, 142), (92, 66), (124, 66), (134, 142)], (244, 232, 212))
    brush.polygon([(114, 66), (124, 66), (134, 142), (118, 142)], (226, 210, 188))
    brush.pie(108, 68, 20, 22, (176, 82, 62), start=180, end=360)
    brush.box(101, 120, 14, 22, DARK_WOOD, radius=6)
    window(brush, lamps, 103, 92, 10, 12)
    for n in range(4):
        angle = math.radians(28 + 90 * n)
        c, s = math.cos(angle), math.sin(angle)

        def at(along: float, across: float, c: float = c, s: float = s) -> tuple[float, float]:
            return 108 + along * c - across * s, 62 + along * s + across * c

        brush.polygon([at(12, 1), at(54, 1), at(54, 13), at(12, 11)], (250, 240, 220))
        for k in range(5):
            brush.line([at(14 + 9.6 * k, 1), at(14 + 9.6 * k, 12)], (204, 180, 150), width=0.8)
        brush.line([at(0, 0), at(55, 0)], DARK_WOOD, width=2.2)
    brush.oval(108, 62, 4, 4, DARK_WOOD)
    tree(brush, 186, 158, 0.8)
    tree(brush, 34, 152, 0.9)
    brush.land([(0, 172), (0.4 * w, 166), (w, 168)], (120, 178, 88))
    tufts(brush, w, (88, 148, 74), flowers=(RED, (250, 240, 240)), seed=3)


def forest(brush: Brush, lamps: Brush, w: float) -> None:
    """Tall trunks before rows of firs; fireflies at night."""
    brush.land([(0, 92), (0.3 * w, 78), (0.7 * w, 90), (w, 72)], (136, 184, 160))
    chance = Random(11)
    for colour, base, count, size in (((92, 156, 128), 146, 15, 1.7), ((62, 128, 102), 160, 11, 2.1)):
        for n in range(count):
            x = (n + chance.uniform(0.2, 0.8)) * w / count
            pine(brush, x, base + chance.uniform(-4, 4), size * chance.uniform(0.8, 1.1), colour)
    brush.land([(0, 160), (0.5 * w, 154), (w, 162)], (96, 150, 82))
    for x, width in ((36, 17), (112, 22), (186, 14), (w - 22, 20)):
        trunk = (118, 80, 60)
        brush.polygon([(x - width / 2, -2), (x + width / 2, -2), (x + width * 0.8, 180), (x - width * 0.8, 180)], trunk)
        brush.polygon([(x, -2), (x + width / 2, -2), (x + width * 0.8, 180), (x + width * 0.2, 180)], (98, 66, 52))
    for x, y, r in (
        (10.0, 4.0, 40),
        (70.0, -6.0, 44),
        (140, 0, 38),
        (200, -10, 34),
        (w - 50, -6, 40),
        (w, 6, 42),
    ):
        brush.oval(x, y, r, r * 0.62, (50, 112, 84))
        brush.oval(x - 6, y - 5, r * 0.7, r * 0.4, (66, 132, 94))
    brush.land([(0, 178), (0.4 * w, 170), (w, 176)], (84, 138, 74))
    tufts(brush, w, (60, 112, 62), seed=5)
    for x, y, s in ((66, 186, 1.0), (80, 190, 0.7), (222, 182, 0.8), (w - 52, 194, 0.9)):
        brush.box(x - 2.5 * s, y - 6 * s, 5 * s, 9 * s, WHITE, radius=2)
        brush.pie(x, y - 5 * s, 9 * s, 8 * s, RED, start=180, end=360)
        for dx in (-4, 1, 5):
            brush.oval(x + dx * s, y - 8 * s, 1.2 * s, 1.2 * s, WHITE)
    for _ in range(16):
        x, y = chance.uniform(0, w), chance.uniform(110, 184)
        lamps.oval(x, y, 1.3, 1.3, (236, 250, 140))


def bridge(brush: Brush, lamps: Brush, w: float) -> None:
    """A stone arch over a river with water lilies."""
    brush.land([(0, 104), (0.3 * w, 122), (0.65 * w, 96), (w, 116)], (168, 204, 172))
    brush.land([(0, 126), (0.4 * w, 134), (0.8 * w, 120), (w, 130)], (134, 186, 116))
    for x, s in ((12, 0.9), (232, 0.7), (0.70 * w, 0.8), (0.95 * w, 1.0)):
        tree(brush, x, 138, s, (110, 166, 96))
    brush.box(-2, 136, w + 4, 40, (92, 172, 196))
    chance = Random(4)
    for _ in range(26):
        x, y = chance.uniform(0, w), chance.uniform(140, 172)
        brush.line([(x, y), (x + chance.uniform(8, 22), y)], (160, 212, 222), width=1.0)
    brush.pie(118, 168, 116, 84, (196, 178, 160), start=180, end=360)
    brush.pie(118, 172, 112, 76, (176, 156, 142), start=180, end=360)
    brush.pie(118, 168, 72, 56, (92, 172, 196), start=180, end=360)
    brush.pie(118, 142, 66, 28, (134, 186, 116), start=180, end=360)
    brush.box(50, 138, 136, 32, (92, 172, 196))
    for n in range(13):
        angle = math.radians(188 + 13.7 * n)
        x, y = 118 + 116 * math.cos(angle), 168 + 84 * math.sin(angle)
        brush.box(x - 3, y - 9, 6, 11, (206, 190, 172), radius=1)
    brush.arc(118, 160, 114, 86, (216, 200, 182), angles=(188, 352), width=4)
    for x, y in ((60, 84), (176, 84)):
        brush.line([(x, y + 14), (x, y - 12)], (64, 62, 74), width=2)
        brush.oval(x, y - 15, 4.5, 5, (196, 206, 206))
        lamps.oval(x, y - 15, 4.5, 5, WARM)
    for x, y in ((214, 160), (228, 166), (80, 164)):
        brush.oval(x, y, 8, 2.6, (96, 160, 84))
        brush.oval(x + 2, y - 2, 2.4, 1.8, (246, 170, 190))
    brush.land([(0, 178), (0.4 * w, 174), (0.7 * w, 164), (w, 158)], GRASS)
    for x in (6, 14, 22, 240, 248, 255):
        brush.line([(x, 184), (x + 2, 158)], (90, 130, 70), width=1.3)
        brush.box(x + 0.6, 154, 3, 9, WOOD, radius=1.5)
    tufts(brush, w, DEEP_GRASS, flowers=((246, 170, 190), WHITE), seed=9)


def mountain(brush: Brush, lamps: Brush, w: float) -> None:
    """A log cabin in the snow under three peaks."""
    for x, top, half, colour in (
        (0.82 * w, 44, 130, (168, 184, 214)),
        (0.50 * w, 60, 110, (178, 192, 218)),
        (104, 10, 170, (134, 150, 184)),
    ):
        base = 170
        brush.polygon([(x - half, base), (x, top), (x + half, base)], colour)
        brush.polygon([(x, top), (x + half, base), (x + half * 0.25, base)], mix(colour, (70, 80, 120), 0.22))
        k = 0.34
        left, right, snow = x - half * k, x + half * k, top + (base - top) * k
        brush.polygon(
            [
                (x, top),
                (right, snow),
                (x + half * 0.15, snow - 9),
                (x, snow + 7),
                (x - half * 0.14, snow - 8),
                (left, snow),
            ],
            (250, 251, 255),
        )
    brush.land([(0, 148), (0.3 * w, 138), (0.6 * w, 156), (w, 140)], (220, 230, 240))
    for x, y, s in (
        (20, 158, 1.1),
        (42, 152, 0.8),
        (200, 158, 0.9),
        (222, 164, 1.2),
        (0.94 * w, 156, 1.2),
        (0.98 * w, 164, 0.9),
    ):
        pine(brush, x, y, s, (78, 122, 122))
        brush.polygon([(x - 6 * s, y - 44 * s), (x, y - 57 * s), (x + 6 * s, y - 44 * s)], (250, 251, 255))
    brush.box(86, 120, 70, 38, (158, 104, 72))
    for y in (128, 136, 144, 152):
        brush.box(86, y, 70, 1.2, (126, 80, 58))
    brush.box(132, 84, 9, 22, (146, 130, 126))
    brush.polygon([(76, 124), (121, 90), (166, 124)], (120, 74, 58))
    brush.polygon([(74, 122), (121, 86), (168, 122), (160, 122), (121, 95), (82, 122)], (250, 251, 255))
    brush.box(113, 134, 14, 24, (92, 60, 48), radius=2)
    window(brush, lamps, 94, 132, 12, 12)
    window(brush, lamps, 136, 132, 12, 12)
    brush.land([(0, 170), (0.35 * w, 160), (0.7 * w, 170), (w, 164)], (240, 245, 250))
    brush.land([(0, 192), (0.4 * w, 184), (w, 194)], (226, 235, 245))
    for x, y in ((30, 182), (208, 190), (0.9 * w, 184)):
        brush.oval(x, y, 12, 4, (206, 220, 236))
