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
"""Scale of the foreground: units of the image per unit of `figures`."""
BUBBLE = (100.0, 76.0)
"""Width and height of a thought, in units of `figures`."""
FACE = (47.7, 36.0)
"""The same for the face in it."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The image of a scene."""

    jpeg: bytes
    boxes: dict[str, Box]
    """Boxes of the friend, the other and the thing, by name and noun, also within a thought."""


class Illustrator:
    """Draws scenes at one size. It caches each landscape and each figure under each light."""

    def __init__(self, *, width: int, height: int) -> None:
        self._size = (width, height)
        self._unit = height / HEIGHT
        self._width = width / self._unit
        self._cache: dict[tuple[str, ...], Image.Image] = {}

    def draw(self, scene: Scene, *, sway: float) -> Drawing:
        """Draw a scene; `sway` in [0, 1) moves the friend a little."""
        hour = HOURS_OF_LIGHT[scene.hour]
        image = self._landscape(scene.place.noun, scene.hour).copy()
        boxes: dict[str, Box] = {}
        w = self._width
        camper = {"sets out": scene.friend, "hands over": scene.other}.get(scene.beat)
        if camper is not None:
            self._put(image, self._tent(camper, scene.hour), x=0.857 * w, y=GROUND - 7, size=TENT)
        x = (0.53 + 0.03 * sway) * w
        figure = self._friend(scene.friend, scene.hour, reach=scene.carried)
        boxes[scene.friend.name] = self._put(image, figure, x=x, y=GROUND, size=FIGURE)
        if scene.beat == "hands over":
            other = self._friend(scene.other, scene.hour, reach=False).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            boxes[scene.other.name] = self._put(image, other, x=x + 92, y=GROUND, size=FIGURE)
        broken = scene.errand == "broken" and scene.beat == "sets out"
        if scene.carried:
            thing = self._thing(scene.thing, hour, scene.hour, broken=broken)
            held = (x + (HAND[0] + 11) * ZOOM, GROUND + (HAND[1] - 4 + THING[1] / 2) * ZOOM)
            boxes[scene.thing.noun] = self._put(image, thing, x=held[0], y=held[1], size=THING)
        if scene.beat != "hands over":
            boxes.update(self._think(image, scene, x=x))
        encoded = io.BytesIO()
        image.convert("RGB").save(encoded, "JPEG", quality=QUALITY, subsampling=0)
        return Drawing(jpeg=encoded.getvalue(), boxes=boxes)

    def _think(self, image: Image.Image, scene: Scene, *, x: float) -> dict[str, Box]:
        """Paste a thought above the friend, with the other, and the thing if not in hand. Return their boxes."""
        wide = not scene.carried
        middle = x + (82 if wide else 64)
        self._put(image, self._bubble(wide), x=middle, y=104, size=BUBBLE)
        face_x = middle - (25 if wide else 0)
        boxes = {scene.other.name: self._put(image, self._face(scene.other), x=face_x, y=73, size=FACE)}
        if wide:
            thing = self._thing(scene.thing, None, scene.hour, broken=False)
            boxes[scene.thing.noun] = self._put(image, thing, x=middle + 26, y=79, size=THING)
        return boxes

    def _put(self, image: Image.Image, figure: Image.Image, *, x: float, y: float, size: tuple[float, float]) -> Box:
        """Paste a figure with the middle of its lower edge at (x, y) units; return its bounding box."""
        left = round((x - size[0] / 2 * ZOOM) * self._unit)
        top = round((y - size[1] * ZOOM) * self._unit)
        image.paste(figure, (left, top), figure)
        seen = figure.getbbox() or (0, 0, *figure.size)
        return (
            max(0, left + seen[0]),
            max(0, top + seen[1]),
            min(self._size[0], left + seen[2]),
            min(self._size[1], top + seen[3]),
        )

    def _landscape(self, noun: str, hour_number: int) -> Image.Image:
        key = ("landscape", noun, str(hour_number))
        if key not in self._cache:
            hour = HOURS_OF_LIGHT[hour_number]
            image = paint_sky(hour, size=self._size)
            land, lamps = (Brush(self._width, HEIGHT, pixels_per_unit=self._unit) for _ in range(2))
            PAINTERS[noun](land, lamps, self._width)
            image.alpha_composite(_fit(lit(land.finish(), hour.light), self._size))
            if hour.lamps:
                image.alpha_composite(_fit(lamps.finish(), self._size))
            self._cache[key] = image.convert("RGB")
        return self._cache[key]

    def _friend(self, friend: Character, hour_number: int, *, reach: bool) -> Image.Image:
        key = ("friend", friend.name, str(hour_number), str(reach))
        if key not in self._cache:
            brush = self._brush(*FIGURE)
            draw_friend(brush, friend, reach=reach)
            self._cache[key] = lit(brush.finish(), _near(HOURS_OF_LIGHT[hour_number]))
        return self._cache[key]

    def _tent(self, friend: Character, hour_number: int) -> Image.Image:
        key = ("tent", friend.name, str(hour_number))
        if key not in self._cache:
            brush = self._brush(*TENT)
            draw_tent(brush, friend)
            self._cache[key] = lit(brush.finish(), _near(HOURS_OF_LIGHT[hour_number]))
        return self._cache[key]

    def _thing(self, thing: Thing, hour: Hour | None, hour_number: int, *, broken: bool) -> Image.Image:
        """Return a thing under the light of the hour, or in full light for `hour` None or a lantern."""
        key = ("thing", thing.noun, str(hour_number if hour else None), str(broken))
        if key not in self._cache:
            brush = self._brush(*THING)
            draw_thing(brush, thing, broken=broken)
            bright = hour is None or thing.noun == "lantern"
            self._cache[key] = brush.finish() if bright or hour is None else lit(brush.finish(), _near(hour))
        return self._cache[key]

    def _face(self, friend: Character) -> Image.Image:
        key = ("face", friend.name)
        if key not in self._cache:
            brush = self._brush(*FIGURE)
            draw_friend(brush, friend, reach=False)
            figure = brush.finish()
            head = figure.crop((0, 0, figure.width, round(figure.height * 0.66)))
            shrink = FACE[1] / (FIGURE[1] * 0.66)
            size = (round(head.width * shrink), round(head.height * shrink))
            small = head.resize((max(1, size[0]), max(1, size[1])), Image.Resampling.LANCZOS)
            self._cache[key] = small
        return self._cache[key]

    def _bubble(self, wide: bool) -> Image.Image:
        key = ("bubble", str(wide))
        if key not in self._cache:
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
            self._cache[key] = brush.finish()
        return self._cache[key]

    def _brush(self, width: float, height: float) -> Brush:
        return Brush(width, height, pixels_per_unit=self._unit * ZOOM)


def _near(hour: Hour) -> Colour:
    """Return the light on what is in front: nearer to full light, so that friends stay in view at night."""
    red, green, blue = (round(value + (255 - value) * 0.45) for value in hour.light)
    return red, green, blue


def _fit(layer: Image.Image, size: tuple[int, int]) -> Image.Image:
    return layer if layer.size == size else layer.resize(size)
