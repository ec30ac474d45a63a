"""The function that draws each place."""

from __future__ import annotations

from collections.abc import Callable

from . import countryside, towns
from .brush import Brush

Painter = Callable[[Brush, Brush, float], None]
"""Paints on a layer for the land and one for what shines at night, both of a width in units."""

PAINTERS: dict[str, Painter] = {
    "lighthouse": towns.lighthouse,
    "windmill": countryside.windmill,
    "forest": countryside.forest,
    "harbour": towns.harbour,
    "market": towns.market,
    "castle": towns.castle,
    "bridge": countryside.bridge,
    "mountain": countryside.mountain,
}
