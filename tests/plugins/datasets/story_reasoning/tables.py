"""The chain-of-thought tables of StoryReasoning for stories of storyworld: Markdown tables with bounding boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsr_cli.api import Analysis, Character, FrameAnalysis, Phase, Setting, Thing
from vsr_plugins.datasets.storyworld.cast import HOURS
from vsr_plugins.datasets.storyworld.drawing import Box, Drawing
from vsr_plugins.datasets.storyworld.narration import FrameText, thing_id
from vsr_plugins.datasets.storyworld.world import Scene

CHARACTERS = (
    "Character ID",
    "Name",
    "Description",
    "Emotions",
    "Actions",
    "Narrative Function",
    "Bounding Box",
)
OBJECTS = ("Object ID", "Description", "Function", "Interaction", "Narrative Function", "Bounding Box")
SETTING = ("Setting Element", "Description", "Mood", "Time", "Narrative Function")

PHASES = ("Introduction", "Development", "Conclusion")


@dataclass(frozen=True, kw_only=True)
class Page:
    """One frame, with all that is known of it."""

    scene: Scene
    text: FrameText
    picture: Drawing

    def boxes_by_id(self) -> dict[str, Box]:
        """Return the boxes by the ids that the text's entities use."""
        return {thing_id(name): box for name, box in self.picture.boxes.items()}


def chain_of_thought(pages: Sequence[Page], *, defects: Sequence[str]) -> str:
    """Write the analysis of all images, with those of the defects that concern its tables."""
    parts = []
    for number, page in enumerate(pages, 1):
        parts.append(f"## Image {number}")
        if "tables_absent" not in defects:
            damage = defects if number == 1 else ()  # one defect a story is as good as many
            parts += [
                "### Characters\n" + _table(CHARACTERS, _characters(page, defects=damage)),
                "### Objects\n" + _table(OBJECTS, _objects(page)),
                "### Setting\n" + _table(SETTING, _setting(page)),
            ]
    parts.append("## Narrative Structure")
    if "tables_absent" not in defects:
        parts += [f"**{phase}**: images {images}" for phase, images in _phases(pages)]
    return "\n\n".join(parts)


def analysis(pages: Sequence[Page]) -> Analysis:
    """Return what a chain of thought without defects says."""
    return Analysis(
        frames=tuple(
            FrameAnalysis(
                characters=tuple(
                    Character(
                        id=i, name=name, description=what, emotions=mood, actions=does, narrative_function=role, box=box
                    )
                    for (i, name, what, mood, does, role, _), box in zip(
                        _characters(page, defects=()),
                        [page.picture.boxes[person.name] for person in (page.scene.friend, page.scene.other)],
                        strict=True,
                    )
                ),
                things=tuple(
                    Thing(
                        id=i,
                        description=what,
                        function=use,
                        interaction=does,
                        narrative_function=role,
                        box=page.picture.boxes[page.scene.thing.noun],
                    )
                    for i, what, use, does, role, _ in _objects(page)
                ),
                settings=tuple(
                    Setting(element=element, description=what, mood=mood, time=time, narrative_function=role)
                    for element, what, mood, time, role in _setting(page)
                ),
            )
            for page in pages
        ),
        phases=tuple(Phase(name=phase, text=f"images {images}") for phase, images in _phases(pages)),
    )


def _characters(page: Page, *, defects: Sequence[str]) -> list[list[str]]:
    rows = []
    for person, role in ((page.scene.friend, "Protagonist"), (page.scene.other, "Friend")):
        box = page.picture.boxes[person.name]
        if role == "Protagonist" and "box_out_of_range" in defects:
            # out at the left, by far less than a tenth of the image's width
            box = (-max(1, (box[2] - box[0]) // 10), box[1], box[2], box[3])
        what = f"A friendly {person.animal} in a scarf"
        if role == "Protagonist" and "pipe_in_cell" in defects:
            what = f"A friendly {person.animal} | in a scarf"
        rows.append([thing_id(person.name), person.name, what, "Cheerful", page.scene.beat, role, _corners(box)])
    return rows


def _objects(page: Page) -> list[list[str]]:
    thing = page.scene.thing
    use = "Held" if page.scene.carried else "Imagined"
    box = _corners(page.picture.boxes[thing.noun])
    return [[thing_id(thing.noun), f"A {thing.colour} {thing.noun}", f"To {thing.use}", use, "Errand", box]]


def _setting(page: Page) -> list[list[str]]:
    return [["Location", f"The {page.scene.place.noun}", "Peaceful", HOURS[page.scene.hour], "Background"]]


def _phases(pages: Sequence[Page]) -> list[tuple[str, str]]:
    beats = {"sets out": 0, "finds": 1, "hands over": 2}
    named = [(PHASES[beats[page.scene.beat]], str(number)) for number, page in enumerate(pages, 1)]
    return [(phase, ", ".join(n for p, n in named if p == phase)) for phase in dict.fromkeys(p for p, _ in named)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _corners(box: Box) -> str:
    return ",".join(str(value) for value in box)
