"""The image of a scene: the landscape at its hour, the tent, the friends, what they carry and think of."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from .brush import Brush, Colour, lit
from .cast import Character, Thing
from .figures import FIGURE, HAND, TENT, draw_friend, draw_tent
from .landscapes import PAINTERS
from .sky import HEIGHT, HOURS_OF_LIGHT, Hour, paint_sky
from .things import THING, draw_thing
from .world import Scene

Box = tuple[int, int, int, int]
"""Pixels x1, y1, x2, y2."""

QUALITY = 90
GROUND = 190.0
"""Where feet stand, in units from the top."""
ZOOM = 1.25
"""Size of everything in front, in units of the image for each unit of `figures`."""
BUBBLE = (100.0, 76.0)
"""Width and height of a thought, in units of `figures`."""
FACE = (47.7, 36.0)
"""The same for the face in it."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn scene."""

    jpeg: bytes
    boxes: dict[str, Box]
    """Where the friend, the other and the thing are, by name and noun, be it in a thought."""


class Illustrator:
    """Draws scenes at one size. It caches each landscape and each figure under each light."""

    def __init__(self, *, width: int, height: int) -> None:
        self._size = (width, height)
        self._unit = height / HEIGHT
        self._width = width / self._unit
        self._kept: dict[tuple[str, ...], Image.Image] = {}

    def draw(self, told: Scene, *, sway: float) -> Picture:
        """Draw a scene; `sway` in [0, 1) moves the friend a little."""
        hour = HOURS_OF_LIGHT[told.hour]
        picture = self._landscape(told.place.noun, told.hour).copy()
        boxes: dict[str, Box] = {}
        w = self._width
        camper = {"sets out": told.friend, "hands over": told.other}.get(told.beat)
        if camper is not None:
            self._put(picture, self._tent(camper, told.hour), x=0.857 * w, y=GROUND - 7, size=TENT)
        x = (0.53 + 0.03 * sway) * w
        figure = self._friend(told.friend, told.hour, reach=told.carried)
        boxes[told.friend.name] = self._put(picture, figure, x=x, y=GROUND, size=FIGURE)
        if told.beat == "hands over":
            other = self._friend(told.other, told.hour, reach=False).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            boxes[told.other.name] = self._put(picture, other, x=x + 92, y=GROUND, size=FIGURE)
        broken = told.errand == "broken" and told.beat == "sets out"
        if told.carried:
            thing = self._thing(told.thing, hour, told.hour, broken=broken)
            held = (x + (HAND[0] + 11) * ZOOM, GROUND + (HAND[1] - 4 + THING[1] / 2) * ZOOM)
            boxes[told.thing.noun] = self._put(picture, thing, x=held[0], y=held[1], size=THING)
        if told.beat != "hands over":
            boxes.update(self._think(picture, told, x=x))
        encoded = io.BytesIO()
        picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY, subsampling=0)
        return Picture(jpeg=encoded.getvalue(), boxes=boxes)

    def _think(self, picture: Image.Image, told: Scene, *, x: float) -> dict[str, Box]:
        """Put a thought over the friend: the other, and the thing if not in hand. Return their boxes."""
        wide = not told.carried
        middle = x + (82 if wide else 64)
        self._put(picture, self._bubble(wide), x=middle, y=104, size=BUBBLE)
        face_x = middle - (25 if wide else 0)
        boxes = {told.other.name: self._put(picture, self._face(told.other), x=face_x, y=73, size=FACE)}
        if wide:
            thing = self._thing(told.thing, None, told.hour, broken=False)
            boxes[told.thing.noun] = self._put(picture, thing, x=middle + 26, y=79, size=THING)
        return boxes

    def _put(self, picture: Image.Image, figure: Image.Image, *, x: float, y: float, size: tuple[float, float]) -> Box:
        """Put a figure with the middle of its lower edge at (x, y) units; return the box of what it covers."""
        left = round((x - size[0] / 2 * ZOOM) * self._unit)
        top = round((y - size[1] * ZOOM) * self._unit)
        picture.paste(figure, (left, top), figure)
        seen = figure.getbbox() or (0, 0, *figure.size)
        return (
            max(0, left + seen[0]),
            max(0, top + seen[1]),
            min(self._size[0], left + seen[2]),
            min(self._size[1], top + seen[3]),
        )

    def _landscape(self, noun: str, hour_number: int) -> Image.Image:
        key = ("landscape", noun, str(hour_number))
        if key not in self._kept:
            hour = HOURS_OF_LIGHT[hour_number]
            picture = paint_sky(hour, size=self._size)
            land, lamps = (Brush(self._width, HEIGHT, pixels_per_unit=self._unit) for _ in range(2))
            PAINTERS[noun](land, lamps, self._width)
            picture.alpha_composite(_fit(lit(land.finish(), hour.light), self._size))
            if hour.lamps:
                picture.alpha_composite(_fit(lamps.finish(), self._size))
            self._kept[key] = picture.convert("RGB")
        return self._kept[key]

    def _friend(self, friend: Character, hour_number: int, *, reach: bool) -> Image.Image:
        key = ("friend", friend.name, str(hour_number), str(reach))
        if key not in self._kept:
            brush = self._brush(*FIGURE)
            draw_friend(brush, friend, reach=reach)
            self._kept[key] = lit(brush.finish(), _near(HOURS_OF_LIGHT[hour_number]))
        return self._kept[key]

    def _tent(self, friend: Character, hour_number: int) -> Image.Image:
        key = ("tent", friend.name, str(hour_number))
        if key not in self._kept:
            brush = self._brush(*TENT)
            draw_tent(brush, friend)
            self._kept[key] = lit(brush.finish(), _near(HOURS_OF_LIGHT[hour_number]))
        return self._kept[key]

    def _thing(self, thing: Thing, hour: Hour | None, hour_number: int, *, broken: bool) -> Image.Image:
        """Return a thing under the hour's light, or in full light for `hour` None: a lantern brings its own."""
        key = ("thing", thing.noun, str(hour_number if hour else None), str(broken))
        if key not in self._kept:
            brush = self._brush(*THING)
            draw_thing(brush, thing, broken=broken)
            bright = hour is None or thing.noun == "lantern"
            self._kept[key] = brush.finish() if bright or hour is None else lit(brush.finish(), _near(hour))
        return self._kept[key]

    def _face(self, friend: Character) -> Image.Image:
        key = ("face", friend.name)
        if key not in self._kept:
            brush = self._brush(*FIGURE)
            draw_friend(brush, friend, reach=False)
            figure = brush.finish()
            head = figure.crop((0, 0, figure.width, round(figure.height * 0.66)))
            shrink = FACE[1] / (FIGURE[1] * 0.66)
            size = (round(head.width * shrink), round(head.height * shrink))
            small = head.resize((max(1, size[0]), max(1, size[1])), Image.Resampling.LANCZOS)
            self._kept[key] = small
        return self._kept[key]

    def _bubble(self, wide: bool) -> Image.Image:
        key = ("bubble", str(wide))
        if key not in self._kept:
            brush = self._brush(*BUBBLE)
            white: Colour = (238, 245, 252)
            puffs = (
                (-30, 0, 17),
                (-12, -7, 20),
                (10, -7, 20),
                (30, 0, 17),
                (-18, 9, 15),
                (0, 10, 16),
                (18, 9, 15),
            )
            shrink = 1.0 if wide else 0.56
            for dx, dy, r in puffs:
                brush.oval(50 + dx * shrink, 34 + dy, r * (1 if wide else 0.85), r, white)
            foot = 10 if wide else 26
            brush.oval(foot + 8, 58, 4, 3.4, white)
            brush.oval(foot, 66, 2.4, 2, white)
            self._kept[key] = brush.finish()
        return self._kept[key]

    def _brush(self, width: float, height: float) -> Brush:
        return Brush(width, height, pixels_per_unit=self._unit * ZOOM)


def _near(hour: Hour) -> Colour:
    """Return the light on what is in front: nearer to full light, so that friends stay in view at night."""
    red, green, blue = (round(value + (255 - value) * 0.45) for value in hour.light)
    return red, green, blue


def _fit(layer: Image.Image, size: tuple[int, int]) -> Image.Image:
    return layer if layer.size == size else layer.resize(size)
