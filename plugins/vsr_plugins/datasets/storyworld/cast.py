"""The elements of the stories: characters, places, things, and the hours of the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Errand = Literal["promised", "lost", "broken"]
ERRANDS: tuple[Errand, ...] = ("promised", "lost", "broken")


@dataclass(frozen=True, kw_only=True)
class Character:
    """A character: its name, animal and colour always occur together, so that image and text agree."""

    name: str
    animal: str
    pronouns: tuple[str, str, str]
    """Subject, object, possessive."""
    goes: str
    """How this animal moves."""
    colour: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place; "{at} the {noun}" is where one is, "to the {noun}" where one goes."""

    noun: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object that can be looked for, mended, carried and given."""

    noun: str
    colour: str
    use: str
    """What two friends do with it."""


SHE = ("she", "her", "her")
HE = ("he", "him", "his")

CHARACTERS = (
    Character(name="Mara", animal="fox", pronouns=SHE, goes="trots", colour=(226, 115, 52)),
    Character(name="Bruno", animal="bear", pronouns=HE, goes="marches", colour=(128, 84, 56)),
    Character(name="Pip", animal="rabbit", pronouns=HE, goes="hops", colour=(236, 226, 214)),
    Character(name="Luna", animal="owl", pronouns=SHE, goes="flutters", colour=(122, 92, 168)),
    Character(name="Otto", animal="frog", pronouns=HE, goes="leaps", colour=(96, 172, 82)),
    Character(name="Nell", animal="cat", pronouns=SHE, goes="strolls", colour=(92, 112, 138)),
    Character(name="Finn", animal="penguin", pronouns=HE, goes="waddles", colour=(44, 56, 86)),
    Character(name="Daisy", animal="duck", pronouns=SHE, goes="patters", colour=(246, 200, 70)),
)

PLACES = (
    Place(noun="lighthouse", at="by"),
    Place(noun="windmill", at="behind"),
    Place(noun="forest", at="in"),
    Place(noun="harbour", at="at"),
    Place(noun="market", at="near"),
    Place(noun="castle", at="below"),
    Place(noun="bridge", at="beside"),
    Place(noun="mountain", at="on"),
)

THINGS = (
    Thing(noun="kite", colour="red", use="fly it"),
    Thing(noun="lantern", colour="yellow", use="light it"),
    Thing(noun="book", colour="green", use="read it"),
    Thing(noun="umbrella", colour="blue", use="sit under it"),
    Thing(noun="teapot", colour="white", use="make tea in it"),
    Thing(noun="bell", colour="golden", use="ring it"),
    Thing(noun="drum", colour="pink", use="play it"),
    Thing(noun="boat", colour="wooden", use="sail it"),
)

HOURS = (
    "at dawn",
    "early in the morning",
    "later in the morning",
    "at noon",
    "in the afternoon",
    "late in the afternoon",
    "at sunset",
    "in the evening",
    "at night",
)
"""One an hour of the story's day. A story starts at one of the first five and ends with the last."""
