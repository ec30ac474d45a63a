"""The friends and their tents, each a small image of its own in full daylight.

A friend is a round body under a round head; ears, tails, beaks and markings make the animal. Coordinates are
units around the point between the feet, y up the page being negative; a friend faces right.
"""

from __future__ import annotations

from .brush import Brush, Colour, mix
from .cast import Character

FIGURE = (84.0, 96.0)
"""Width and height in units of a friend's image; the feet are at its middle, 4 units above the edge."""
TENT = (112.0, 92.0)
"""The same for a tent, which stands on its lower edge."""
HAND = (21.0, -29.0)
"""Where a friend holds a thing, from the feet."""

INK: Colour = (44, 40, 52)
CREAM: Colour = (252, 242, 222)
PINK: Colour = (240, 150, 144)
BEAK: Colour = (240, 146, 50)
SCARVES: dict[str, Colour] = {
    "fox": (58, 124, 140),
    "bear": (236, 190, 76),
    "rabbit": (214, 84, 92),
    "owl": (82, 182, 172),
    "frog": (238, 128, 84),
    "cat": (236, 108, 112),
    "penguin": (226, 72, 72),
    "duck": (86, 138, 200),
}


def draw_friend(brush: Brush, friend: Character, *, reach: bool) -> None:
    """Draw a friend; `reach` holds an arm out for a thing."""
    x, y = FIGURE[0] / 2, FIGURE[1] - 4
    animal, colour = friend.animal, friend.colour
    dark, pale = mix(colour, INK, 0.25), mix(colour, CREAM, 0.78)
    feet = BEAK if animal in ("owl", "penguin", "duck") else dark
    brush.oval(x, y, 24, 4, INK, alpha=56)  # the shadow
    _behind(brush, animal, colour, dark)
    brush.oval(x - 7, y - 1, 7, 4, feet)
    brush.oval(x + 9, y - 1, 7, 4, feet)
    brush.line([(x - 12, y - 30), (x - 20, y - 17)], dark, width=7)  # the far arm
    brush.oval(x, y - 20, 16, 20, colour)
    brush.oval(x + 3, y - 17, 10.5, 14.5, pale)
    if animal == "owl":
        for row, columns in ((-24, (-3, 3, 9)), (-17, (0, 6)), (-10, (3,))):
            for dx in columns:
                brush.arc(x + dx, y + row, 3, 3, mix(colour, CREAM, 0.4), angles=(0, 180), width=1.3)
    brush.oval(x + 1, y - 50, 20, 17.5, colour)
    _face(brush, animal, colour, pale)
    scarf = SCARVES[animal]
    brush.box(x - 12, y - 37, 27, 6, scarf, radius=3)
    brush.polygon([(x - 10, y - 34), (x - 4, y - 34), (x - 7, y - 20), (x - 13, y - 21)], mix(scarf, INK, 0.12))
    hand = HAND if reach else (20.0, -19.0)
    brush.line([(x + 12, y - 29), (x + hand[0], y + hand[1])], mix(colour, INK, 0.12), width=7)


def _behind(brush: Brush, animal: str, colour: Colour, dark: Colour) -> None:
    """Draw what is behind head and body: tail and ears."""
    x, y = FIGURE[0] / 2, FIGURE[1] - 4
    if animal == "fox":
        brush.polygon(
            [
                (x - 8, y - 4),
                (x - 26, y - 6),
                (x - 38, y - 26),
                (x - 32, y - 38),
                (x - 22, y - 20),
                (x - 8, y - 14),
            ],
            colour,
        )
        brush.polygon([(x - 38, y - 26), (x - 32, y - 38), (x - 27, y - 29), (x - 32, y - 22)], CREAM)
    if animal == "cat":
        brush.line([(x - 12, y - 5), (x - 26, y - 8), (x - 31, y - 20), (x - 27, y - 32)], colour, width=5.5)
        brush.line([(x - 29, y - 25), (x - 27, y - 32)], CREAM, width=5.5)
    if animal in ("fox", "cat"):
        for side in (-1, 1):
            tip = 17 if animal == "fox" else 15
            brush.polygon(
                [(x + 1 + side * 20, y - 54), (x + 1 + side * tip, y - 78), (x + 1 + side * 4, y - 64)],
                colour,
            )
            brush.polygon(
                [(x + 1 + side * 17, y - 58), (x + 1 + side * (tip - 1), y - 72), (x + 1 + side * 8, y - 63)],
                INK if animal == "fox" else PINK,
            )
    if animal == "bear":
        for side in (-1, 1):
            brush.oval(x + 1 + side * 15, y - 64, 7.5, 7.5, colour)
            brush.oval(x + 1 + side * 15, y - 64, 4, 4, mix(colour, CREAM, 0.5))
    if animal == "rabbit":
        brush.oval(x - 17, y - 9, 6.5, 6.5, CREAM)
        for side in (-1, 1):
            brush.oval(x + 1 + side * 8, y - 75, 5.5, 16, colour)
            brush.oval(x + 1 + side * 8, y - 74, 2.8, 12, PINK)
    if animal == "owl":
        for side in (-1, 1):
            brush.polygon([(x + 1 + side * 18, y - 52), (x + 1 + side * 19, y - 75), (x + 1 + side * 5, y - 64)], dark)
    if animal == "frog":
        for side in (-1, 1):
            brush.oval(x + 1 + side * 10.5, y - 65, 8.5, 8.5, colour)
    if animal == "duck":
        brush.polygon([(x - 8, y - 18), (x - 25, y - 22), (x - 20, y - 10), (x - 8, y - 5)], colour)
        for dx, dy in ((-6, -72), (0, -75), (6, -72)):
            brush.line([(x + 1, y - 64), (x + 1 + dx, y + dy)], colour, width=3)
    if animal == "penguin":
        brush.line([(x + 1, y - 66), (x - 4, y - 73)], colour, width=3)


def _face(brush: Brush, animal: str, colour: Colour, pale: Colour) -> None:
    x, y = FIGURE[0] / 2 + 1, FIGURE[1] - 4
    eye_y, eye_x, shift = y - 52, 8.0, 2.5
    if animal == "fox":
        for side in (-1, 1):
            brush.oval(x + side * 9.5, y - 43, 10, 7.5, CREAM)
        brush.polygon([(x - 8, y - 50), (x + 2, y - 62), (x + 12, y - 50), (x + 2, y - 42)], colour)
    if animal == "bear":
        brush.oval(x + 3, y - 44, 9.5, 7, mix(colour, CREAM, 0.55))
    if animal in ("penguin", "owl"):
        for side in (-1, 1):
            brush.oval(
                x + shift + side * 7,
                y - 50,
                9.5 if animal == "penguin" else 10,
                11,
                pale if animal == "owl" else CREAM,
            )
    if animal == "rabbit":
        brush.oval(x + 3, y - 43, 8, 5.5, CREAM)
    if animal == "frog":
        eye_y, eye_x, shift = y - 65, 10.5, 0.5
        for side in (-1, 1):
            brush.oval(x + side * 10.5, eye_y, 6, 6, CREAM)
        brush.arc(x + 2, y - 51, 12, 8, INK, angles=(20, 160), width=1.5)
    large = animal in ("owl", "frog")
    for side in (-1, 1):
        ex = x + shift + side * eye_x
        brush.oval(ex, eye_y, 3.6 if large else 2.9, 4.2 if large else 3.7, INK)
        brush.oval(ex + 0.9, eye_y - 1.4, 1.2, 1.2, (255, 255, 255))
        brush.oval(x + 2.5 + side * 13.5, y - 44.5, 3.2, 2.2, mix(PINK, colour, 0.25))
    if animal in ("penguin", "owl"):
        brush.polygon([(x - 2, y - 48), (x + 7, y - 48), (x + 2.5, y - 41)], BEAK)
    elif animal == "duck":
        brush.oval(x + 4, y - 44.5, 9, 4.2, BEAK)
        brush.arc(x + 4, y - 46, 8, 3.5, mix(BEAK, INK, 0.35), angles=(15, 165), width=1)
    elif animal != "frog":
        nose = PINK if animal in ("rabbit", "cat") else INK
        brush.oval(x + 3, y - 46.5, 2.8, 2.1, nose)
        for side in (-1, 1):
            brush.arc(x + 3 + side * 2.4, y - 43.5, 2.4, 2.4, INK, angles=(0, 180), width=1)
    if animal in ("cat", "rabbit"):
        for side in (-1, 1):
            for rise in (-1.5, 1.5):
                brush.line(
                    [(x + 3 + side * 9, y - 43.5 + rise * 0.5), (x + 3 + side * 19, y - 44 + rise * 1.6)],
                    mix(INK, CREAM, 0.45),
                    width=0.8,
                )


def draw_tent(brush: Brush, friend: Character) -> None:
    """Draw a friend's tent: the colour of the friend's scarf, and the friend's own on the pennant."""
    w, h = TENT
    cloth = SCARVES[friend.animal]
    middle = w / 2
    brush.line([(middle, h - 70), (middle, h - 86)], (120, 84, 60), width=2)
    brush.polygon([(middle, h - 87), (middle + 17, h - 81), (middle, h - 75)], friend.colour)
    brush.polygon([(8, h - 1), (middle, h - 72), (w - 8, h - 1)], cloth)
    for k in (0, 1):
        a, b = 8 + k * 24, 20 + k * 24
        brush.polygon([(a, h - 1), (middle, h - 72), (b, h - 1)], mix(cloth, CREAM, 0.55))
        brush.polygon([(w - a, h - 1), (middle, h - 72), (w - b, h - 1)], mix(cloth, CREAM, 0.55))
    brush.polygon([(middle - 15, h - 1), (middle, h - 54), (middle + 15, h - 1)], mix(cloth, INK, 0.72))
    brush.polygon([(middle - 15, h - 1), (middle, h - 54), (middle - 9, h - 1)], mix(cloth, INK, 0.2))
    for side in (-1, 1):
        brush.line([(middle + side * 40, h - 18), (middle + side * 54, h - 2)], CREAM, width=1)
