"""The grammar of texts: a scene in one to three sentences, with the spans of the entities.

In a template `{slot}` is filled from the scene, `[...]` marks an action of the friend and `<...>` one of the
other. The chance of each paraphrase is written before it; nothing else in a text is random.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from vsr_cli.api import Entity

from .cast import CHARACTERS, HOURS, PLACES, THINGS, Errand, Place
from .world import Beat, Scene, World, scene_at

Paraphrases = tuple[tuple[float, str], ...]

FIRST: dict[Beat, str] = {
    "sets out": "This story begins {when}, as {friend} [leaves] {his} tent {at_home}.",
    "finds": "This story begins {when}, as {friend} [{goes}] to {goal}.",
}
"""How a story's first frame begins. It is no frame's fifth, so it needs no paraphrase."""

ARRIVAL: dict[Beat, Paraphrases] = {
    "sets out": (
        (0.6, "{when}, {friend} [leaves] {his} tent {at_home}."),
        (0.4, "{friend} [sets out] {when} from {his} tent {at_home}."),
    ),
    "finds": (
        (0.65, "{when}, {friend} [{goes}] to {goal}."),
        (0.35, "{friend} [{goes}] to {goal} {when}."),
    ),
    "hands over": (
        (0.65, "{when}, {friend} [{goes}] up to {other}'s tent {at_other_home}."),
        (0.35, "{friend} [{goes}] up to {other}'s tent {at_other_home} {when}."),
    ),
}

EVENT: dict[tuple[Beat, Errand], Paraphrases] = {
    ("sets out", "promised"): (
        (0.6, "{he} [has promised] {other} a {thing}, and hopes to find one {at_goal}."),
        (0.4, "There may be a {thing} {at_goal}, and {he} [has promised] it to {other}."),
    ),
    ("sets out", "lost"): (
        (0.6, "{other} has lost the {thing}, so {he} [goes looking] for it {at_goal}."),
        (0.4, "{he} [wants to search] {at_goal} for the {thing} that {other} lost."),
    ),
    ("sets out", "broken"): (
        (0.6, "{other} broke the {thing}, so {he} [carries] it off to be mended {at_goal}."),
        (0.4, "{he} [carries] the {thing} that {other} broke, for it can be mended {at_goal}."),
    ),
    ("finds", "promised"): (
        (0.7, "What luck, here is the {thing} that {he} [promised] {other}!"),
        (0.3, "{he} [chooses] the {thing} that {he} promised {other}."),
    ),
    ("finds", "lost"): (
        (0.7, "After a long search {he} [finds] the {thing} that {other} lost."),
        (0.3, "{he} [looks] everywhere, and there lies the {thing} that {other} lost."),
    ),
    ("finds", "broken"): (
        (0.7, "With a little glue {he} [mends] the {thing} that {other} broke."),
        (0.3, "{he} [sits down] and patiently mends the {thing} that {other} broke."),
    ),
    ("hands over", "promised"): (
        (0.7, "A promise is a promise: {he} [gives] {other} the {thing}."),
        (0.3, "{he} [keeps] the promise and gives {other} the {thing}."),
    ),
    ("hands over", "lost"): (
        (0.7, "{other} <cheers>, because {name} [brings back] the lost {thing}."),
        (0.3, "Look, {name} [brings back] the lost {thing}, and {other} <cheers>!"),
    ),
    ("hands over", "broken"): (
        (0.7, "Now the {thing} is as good as new, and {other} <thanks> {him}."),
        (0.3, "{he} [shows] {other} the {thing}, which is as good as new."),
    ),
}

OUTLOOK: dict[Beat, Paraphrases] = {
    "finds": (
        (0.65, "Next stop: {other}'s tent {at_other_home}."),
        (0.35, "Now {he} [must carry] it to {other}'s tent {at_other_home}."),
    ),
    "hands over": (
        (0.65, "They {use} together while {other} <tells> {him} about {other_goal}."),
        (0.35, "{other} <talks> about {other_goal} while they {use} together."),
    ),
}

ENDING: Paraphrases = (
    (0.65, "They {use} together, talk about {other_goal}, and sleep under the stars."),
    (0.35, "They {use} together, dream of {other_goal}, and sleep under the stars."),
)
"""How the last hour ends, in place of the outlook."""


@dataclass(frozen=True, kw_only=True)
class FrameText:
    """A text with its entity spans."""

    text: str
    entities: tuple[Entity, ...]


def paraphrases(scene: Scene, *, frame: int) -> tuple[Paraphrases, ...]:
    """Return the templates of each sentence of a scene, with their probabilities; `frame` is its index from 0."""
    first = FIRST[scene.beat] if frame == 0 else None
    arrival: Paraphrases = ((1.0, first),) if first else ARRIVAL[scene.beat]
    last_hour = scene.hour == len(HOURS) - 1
    outlook = (ENDING,) if last_hour else (OUTLOOK[scene.beat],) if scene.beat in OUTLOOK else ()
    return (arrival, EVENT[scene.beat, scene.errand], *outlook)


def frame_text(world: World, t: int) -> FrameText:
    """Return the text of frame `t` (from 0) of a story, with its sampled paraphrases."""
    scene = scene_at(world, t)
    chosen = [_choose(options, u) for options, u in zip(paraphrases(scene, frame=t), world.wording[t], strict=False)]
    return fill(chosen, scene, frame=t)


def all_texts(scene: Scene, *, frame: int) -> Iterator[tuple[float, str]]:
    """Yield every possible text of a scene with its probability."""
    for choice in product(*paraphrases(scene, frame=frame)):
        probability = 1.0
        for chance, _ in choice:
            probability *= chance
        yield probability, fill([template for _, template in choice], scene, frame=frame).text


def fill(templates: list[str], scene: Scene, *, frame: int) -> FrameText:
    """Fill in the templates of a scene. The animal of a friend is named in the first three frames of a story."""
    slots = _slots(scene, introduce=frame < 3)
    text = ""
    entities: list[Entity] = []
    action = 0
    for template in templates:
        text += " " if text else ""
        start = len(text)
        for slot, mark, words in _pieces(template):
            if mark and mark in "[<":
                action = len(text)
            elif mark:
                by = scene.friend if mark == "]" else scene.other
                entities.append(_entity("action", thing_id(by.name), action, len(text)))
            else:
                before, shown, whose = slots[slot] if slot else (words, "", "")
                text += before
                if whose:
                    kind = "landmark" if whose.startswith("lm") else "object"
                    entities.append(_entity(kind, whose, len(text), len(text) + len(shown)))
                text += shown
        text = text[:start] + text[start].upper() + text[start + 1 :]
    return FrameText(text=text, entities=tuple(sorted(entities, key=lambda entity: entity.start)))


@cache
def _pieces(template: str) -> tuple[tuple[str, str, str], ...]:
    """Split a template into pieces: each is the name of a slot, a mark, or words."""
    return tuple(re.findall(r"\{(\w+)\}|([\[\]<>])|([^{}\[\]<>]+)", template))


def _slots(scene: Scene, *, introduce: bool) -> dict[str, tuple[str, str, str]]:
    """Return for each slot the words before a span, the span's words and its id, "" where there is no span."""
    he, him, his = scene.friend.pronouns
    me, other = thing_id(scene.friend.name), thing_id(scene.other.name)
    name = f"{scene.friend.name} the {scene.friend.animal}" if introduce else scene.friend.name
    slots = {
        "friend": ("", name, me),
        "name": ("", scene.friend.name, me),
        "he": ("", he, me),
        "him": ("", him, me),
        "his": ("", his, me),
        "other": ("", scene.other.name, other),
        "thing": ("", f"{scene.thing.colour} {scene.thing.noun}", thing_id(scene.thing.noun)),
        "goes": (scene.friend.goes, "", ""),
        "use": (scene.thing.use, "", ""),
        "when": (HOURS[scene.hour], "", ""),
    }
    where: dict[str, Place | None] = {
        "home": scene.home,
        "goal": scene.goal,
        "other_home": scene.other_home,
        "other_goal": scene.other_goal,
    }
    for slot, place in where.items():
        if place is not None:
            slots[slot] = ("", f"the {place.noun}", thing_id(place.noun))
            slots[f"at_{slot}"] = (f"{place.at} ", f"the {place.noun}", thing_id(place.noun))
    return slots


_IDS = {
    **{character.name: f"char{n}" for n, character in enumerate(CHARACTERS, 1)},
    **{thing.noun: f"obj{n}" for n, thing in enumerate(THINGS, 1)},
    **{place.noun: f"lm{n}" for n, place in enumerate(PLACES, 1)},
}


def thing_id(name: str) -> str:
    """Return the id of a character's name, a thing's or a place's noun: char, obj or lm and a number."""
    return _IDS[name]


def _entity(kind: str, whose: str, start: int, end: int) -> Entity:
    return Entity(kind=kind, ids=(whose,), start=start, end=end)


def _choose(options: Paraphrases, u: float) -> str:
    """Return the paraphrase whose interval of [0, 1) contains `u`."""
    for chance, template in options[:-1]:
        if u < chance:
            return template
        u -= chance
    return options[-1][1]
