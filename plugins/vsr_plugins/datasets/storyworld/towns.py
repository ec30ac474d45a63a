"""The places that people built: lighthouse, harbour, market and castle, in full daylight.

The landmark stands in the left part of the image, and the ground at the right is left free for the friends.
Numbers are units of the image (208 high); `w` is its width. Lamps and lit windows go on a layer apart.
"""

from __future__ import annotations

import math

from .brush import Brush, Colour, mix
from .scenery import DARK_WOOD, FAR, GRASS, RED, STONE, WARM, WHITE, WOOD, sail, tree, tufts, waves, window


def lighthouse(brush: Brush, lamps: Brush, w: float) -> None:
    """A beach under a lighthouse on its cliff."""
    waves(brush, w, 118, 180, seed=1)
    sail(brush, 0.80 * w, 134, 0.55, RED)
    brush.polygon([(0, 116), (60, 108), (140, 112), (184, 130), (210, 182), (0, 208)], (150, 132, 120))
    brush.polygon([(0, 112), (60, 103), (140, 108), (186, 128), (150, 124), (70, 118), (0, 128)], GRASS)
    brush.polygon([(86, 112), (92, 40), (116, 40), (122, 112)], WHITE)
    for low, high in ((112, 97), (82, 67), (52, 40)):
        left, right = [(86 + (112 - y) / 12, 122 - (112 - y) / 12) for y in (low, high)]
        brush.polygon([(left[0], low), (right[0], high), (right[1], high), (left[1], low)], RED)
    brush.box(87, 36, 34, 5, (70, 78, 96), radius=1)
    brush.box(95, 20, 18, 17, (170, 200, 210))
    brush.pie(104, 21, 12, 11, RED, start=180, end=360)
    brush.box(99, 99, 10, 13, DARK_WOOD, radius=4)
    brush.box(128, 92, 30, 20, WHITE)
    brush.polygon([(124, 93), (143, 78), (162, 93)], (92, 106, 132))
    window(brush, lamps, 138, 97, 8, 9)
    for spread in (1.0, 0.6, 0.25):
        beam = [(112, 27), (w, 28 - 34 * spread), (w, 28 + 34 * spread), (112, 30)]
        lamps.polygon(beam, (255, 240, 180), alpha=round(115 - 80 * spread))
    lamps.box(95, 20, 18, 17, WARM)
    brush.land([(0, 176), (0.3 * w, 168), (0.7 * w, 164), (w, 158)], (232, 208, 158))
    brush.land([(0, 196), (0.35 * w, 186), (0.75 * w, 192), (w, 186)], (240, 220, 174))
    for x, y, r in ((28, 190, 8), (42, 194, 5), (232, 178, 5), (w - 30, 196, 7)):
        brush.oval(x, y, r * 1.4, r * 0.8, (150, 140, 134))


def harbour(brush: Brush, lamps: Brush, w: float) -> None:
    """A jetty across the water from a row of painted houses."""
    brush.land([(0, 112), (0.5 * w, 116), (0.8 * w, 98), (w, 108)], FAR)
    waves(brush, w, 114, 190, seed=2)
    colours: tuple[Colour, ...] = (
        (232, 150, 110),
        (246, 214, 140),
        (150, 190, 200),
        (226, 128, 128),
        (240, 230, 214),
    )
    for n, colour in enumerate(colours):
        x, top = 2 + n * 34, 76 - (n * 13) % 20
        brush.box(x, top, 32, 122 - top, colour)
        brush.polygon(
            [(x - 2, top + 1), (x + 16, top - 17), (x + 34, top + 1)],
            mix((176, 86, 66), (110, 90, 110), n / 5),
        )
        for wx in (6, 19):
            window(brush, lamps, x + wx, top + 9, 7, 9)
        brush.box(x + 12, 106, 9, 16, DARK_WOOD, radius=3)
    brush.box(-2, 121, 190, 8, STONE)
    brush.box(-2, 129, 186, 6, (150, 142, 140))
    sail(brush, 206, 152, 1.4, (236, 172, 82))
    sail(brush, 0.86 * w, 136, 0.7, RED)
    brush.oval(0.66 * w, 146, 5, 4, RED)
    brush.box(0.66 * w - 1, 136, 2, 8, WHITE)
    for post in (20, 90, 160, 250, 330, 410, w - 14):
        brush.box(post - 3, 158, 6, 40, DARK_WOOD)
    brush.box(-2, 168, w + 4, 42, (178, 130, 88))
    for y in (168, 178, 189, 200):
        brush.box(-2, y, w + 4, 1.4, (146, 102, 70))
    for n in range(14):
        brush.box(n * 43 - (n % 2) * 9, 169 + 10 * (n % 3), 1.4, 10, (146, 102, 70))


def market(brush: Brush, lamps: Brush, w: float) -> None:
    """Stalls and bunting in a paved square."""
    walls: tuple[Colour, ...] = (
        (238, 204, 160),
        (222, 170, 140),
        (244, 222, 184),
        (200, 184, 176),
        (236, 190, 150),
    )
    for n in range(math.ceil(w / 66) + 1):
        x, top = n * 66 - 20, 54 + (n * 17) % 26
        brush.box(x, top, 66, 120, mix(walls[n % 5], FAR, 0.25))
        brush.polygon(
            [(x - 3, top + 1), (x + 33, top - 24), (x + 69, top + 1)],
            mix((190, 98, 76), FAR, 0.25 + 0.05 * n),
        )
        for wx in (10, 28, 46):
            behind_a_stall = x + wx < 206 and top + 28 > 82
            if not behind_a_stall:  # its lamp would shine through
                window(brush, lamps, x + wx, top + 14, 10, 14)
    brush.box(-2, 146, w + 4, 64, (222, 200, 170))
    for y, shift in ((156, 0), (166, 14), (177, 4), (189, 20), (201, 9)):
        for n in range(math.ceil(w / 30) + 1):
            brush.oval(n * 30 + shift - 10, y, 9, 2.4, (206, 182, 152))
    for x, y, colour in ((14, 0, RED), (116, 4, (70, 140, 150))):
        brush.box(x + 4, 92 + y, 3, 74, WOOD)
        brush.box(x + 79, 92 + y, 3, 74, WOOD)
        brush.box(x, 134 + y, 86, 32, (176, 126, 84))
        brush.box(x, 134 + y, 86, 4, (202, 152, 104))
        for k in range(6):
            stripe = colour if k % 2 == 0 else WHITE
            brush.polygon(
                [
                    (x + 10 + 11 * k, 84 + y),
                    (x + 21 + 11 * k, 84 + y),
                    (x + 15 * (k + 1) - 2, 106 + y),
                    (x + 15 * k - 2, 106 + y),
                ],
                stripe,
            )
            brush.pie(x + 15 * k + 5.5, 106 + y, 7.5, 6, stripe, start=0, end=180)
        fruit: tuple[Colour, ...] = (RED, (244, 164, 60), (128, 180, 70), (150, 90, 150))
        for k in range(4):
            for dx, dy in ((-5, 0), (1, 0), (7, 0), (-2, -5), (4, -5)):
                brush.oval(x + 13 + 20 * k + dx, 131 + y + dy, 3.6, 3.6, fruit[(k + x) % 4])
    flags: tuple[Colour, ...] = (RED, (250, 204, 90), (88, 164, 150), (240, 140, 90))
    for n in range(math.ceil(w / 17)):
        peg = n * 17
        line = 40 + 12 * math.sin(math.pi * ((peg % 160) / 160))
        brush.polygon([(peg, line), (peg + 13, line), (peg + 6.5, line + 12)], flags[n % 4])
        lamps.oval(peg + 6.5, line, 2, 2, WARM)


def castle(brush: Brush, lamps: Brush, w: float) -> None:
    """A castle on its hill, with a path down."""
    brush.land([(0, 120), (0.2 * w, 92), (0.45 * w, 128), (0.75 * w, 96), (w, 118)], (170, 190, 200))
    brush.land([(0, 146), (0.24 * w, 110), (0.55 * w, 150), (0.85 * w, 130), (w, 140)], (150, 190, 130))
    stone: Colour = (206, 198, 204)
    shade: Colour = (176, 168, 182)
    brush.box(62, 78, 108, 50, stone)
    for n in range(9):
        brush.box(62 + 12.4 * n, 72, 7, 8, stone)
    for x, top, width in ((48.0, 56, 26), (158.0, 58, 26), (98.0, 40, 36)):
        brush.box(x, top, width, 132 - top, mix(stone, WHITE, 0.15))
        brush.box(x + width * 0.66, top, width * 0.34, 132 - top, shade)
        brush.polygon([(x - 4, top + 1), (x + width / 2, top - 32), (x + width + 4, top + 1)], (92, 112, 168))
        brush.polygon([(x + width / 2, top - 32), (x + width + 4, top + 1), (x + width * 0.6, top + 1)], (76, 92, 146))
        brush.line([(x + width / 2, top - 30), (x + width / 2, top - 40)], DARK_WOOD, width=1.2)
        brush.polygon([(x + width / 2, top - 40), (x + width / 2 + 13, top - 36.5), (x + width / 2, top - 33)], RED)
        window(brush, lamps, x + width / 2 - 4, top + 12, 8, 13)
    for left in (80, 140):
        window(brush, lamps, left, 92, 8, 12)
    brush.box(105, 98, 22, 36, DARK_WOOD, radius=11)
    brush.land([(0, 156), (0.24 * w, 126), (0.5 * w, 160), (w, 150)], GRASS)
    brush.polygon([(108, 130), (126, 130), (250, 210), (160, 210)], (232, 210, 164))
    for x, y, s in ((26, 158, 0.9), (206, 162, 0.8), (0.93 * w, 160, 1.0)):
        tree(brush, x, y, s, (88, 152, 110))
    tufts(brush, w, (96, 154, 80), flowers=((250, 214, 90), (180, 120, 190)), seed=8)
