"""The state of a story's world, and its rules.

Three friends camp in three places. Each has an errand for the previous friend in the round: a thing that was
promised, lost or broken, and is found at some place (the goal). Each frame covers one hour and one friend in turn:
hour h is about friend h mod 3, who sets out (hours 0-2), then finds or mends the thing (3-5), then hands it over at
the other's tent (6-8). A story of n frames is the last n hours of the day.

So every frame from the fifth on follows from the four before it, and only from all four: its friend was last seen
three frames ago; and the place of the other friend's tent (while finding), or where that friend has been (while
handing over), was last stated four frames ago, except at hour 6, where the last frame states it too.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

from .cast import CHARACTERS, ERRANDS, HOURS, PLACES, THINGS, Character, Errand, Place, Thing

Beat = Literal["sets out", "finds", "hands over"]
BEATS: tuple[Beat, ...] = ("sets out", "finds", "hands over")

SHORTEST = 5
LONGEST = len(HOURS)


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that happens in one story, and the random numbers for its text and images."""

    friends: tuple[Character, ...]
    homes: tuple[Place, ...]
    """Where each friend's tent stands."""
    goals: tuple[Place, ...]
    things: tuple[Thing, ...]
    errands: tuple[Errand, ...]
    first_hour: int
    wording: tuple[tuple[float, float, float], ...]
    """For each frame, a uniform number in [0, 1) per sentence, which selects its paraphrase."""
    sway: tuple[float, ...]
    """For each frame, a uniform number in [0, 1), which shifts the friend."""

    def __len__(self) -> int:
        return LONGEST - self.first_hour


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The content of one frame."""

    hour: int
    beat: Beat
    errand: Errand
    friend: Character
    other: Character
    """The friend whom the errand is for."""
    thing: Thing
    home: Place | None
    """The friend's own tent; known while setting out, else None."""
    goal: Place | None
    """Where the thing is found; None while handing over."""
    other_home: Place | None
    """The other's tent; None while setting out."""
    other_goal: Place | None
    """Where the other has been; stated while handing over, else None."""

    @property
    def place(self) -> Place:
        """Where the scene is."""
        here = {"sets out": self.home, "finds": self.goal, "hands over": self.other_home}[self.beat]
        assert here is not None
        return here

    @property
    def carried(self) -> bool:
        """Return whether the friend has the thing in hand."""
        return self.beat != "sets out" or self.errand == "broken"


Fact = tuple[Literal["friend", "home", "goal", "thing", "errand"], int]
"""One sampled attribute of the world, and the index of its friend."""

FACTS_OF_BEAT: dict[Beat, tuple[tuple[Fact, ...], tuple[Fact, ...]]] = {
    "sets out": ((("friend", 0), ("home", 0), ("goal", 0), ("thing", 0), ("errand", 0)), (("friend", -1),)),
    "finds": ((("friend", 0), ("goal", 0), ("thing", 0), ("errand", 0)), (("friend", -1), ("home", -1))),
    "hands over": (
        (("friend", 0), ("thing", 0), ("errand", 0)),
        (("friend", -1), ("home", -1), ("goal", -1)),
    ),
}
"""The facts that a beat states of its friend (0) and of the other (-1)."""


def random_of(seed: int, index: int) -> random.Random:
    """Return the random generator of story `index`, the same on every machine."""
    digest = hashlib.sha256(f"storyworld/1/{seed}/{index}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))


def draw_world(seed: int, index: int) -> World:
    """Sample story `index` of a random seed uniformly, with distinct friends, places and things."""
    chance = random_of(seed, index)
    first_hour = chance.randrange(LONGEST - SHORTEST + 1)
    places = chance.sample(PLACES, 6)
    return World(
        friends=tuple(chance.sample(CHARACTERS, 3)),
        homes=tuple(places[:3]),
        goals=tuple(places[3:]),
        things=tuple(chance.sample(THINGS, 3)),
        errands=tuple(chance.choice(ERRANDS) for _ in range(3)),
        first_hour=first_hour,
        wording=tuple((chance.random(), chance.random(), chance.random()) for _ in range(first_hour, LONGEST)),
        sway=tuple(chance.random() for _ in range(first_hour, LONGEST)),
    )


def facts_stated(hour: int) -> tuple[Fact, ...]:
    """Return exactly the facts that the frame of an hour states."""
    own, others = FACTS_OF_BEAT[BEATS[hour // 3]]
    return tuple((kind, (hour + shift) % 3) for kind, shift in (*own, *others))


def scene_at(world: World, t: int) -> Scene:
    """Return frame `t` (from 0) of a story."""
    hour = world.first_hour + t
    me, beat = hour % 3, BEATS[hour // 3]
    other = (me - 1) % 3
    return Scene(
        hour=hour,
        beat=beat,
        errand=world.errands[me],
        friend=world.friends[me],
        other=world.friends[other],
        thing=world.things[me],
        home=world.homes[me] if beat == "sets out" else None,
        goal=None if beat == "hands over" else world.goals[me],
        other_home=None if beat == "sets out" else world.homes[other],
        other_goal=world.goals[other] if beat == "hands over" else None,
    )
