"""Texts with the tags of their entities, as StoryReasoning's raw rows have them: what `data.markup` leaves in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..api import Entity, Frame, Story

TAGS = {"object": "gdo", "action": "gda", "landmark": "gdl"}


def marked_up(story: Story) -> Story:
    """Write the tags of a story's frames and entities into its texts; the entities' spans hold in the new texts."""
    frames = [_marked_frame(frame, number) for number, frame in enumerate(story.frames, start=1)]
    return replace(story, frames=tuple(frames))


def _marked_frame(frame: Frame, number: int) -> Frame:
    if not frame.text:
        return frame
    opener, closer = f"<gdi image{number}>\n", "\n</gdi>"
    text, entities = _tagged(frame.text, frame.entities)
    moved = [replace(entity, start=entity.start + len(opener), end=entity.end + len(opener)) for entity in entities]
    return replace(frame, text=f"{opener}{text}{closer}", entities=tuple(moved))


def _tagged(text: str, entities: Sequence[Entity]) -> tuple[str, list[Entity]]:
    """Put each entity between its tags, an inner one within an outer one."""
    # At one place all that close come before any that opens, inner ones first; of those that open, outer ones.
    edges = [(entity.end, 0, -entity.start, -number) for number, entity in enumerate(entities)]
    edges += [(entity.start, 1, -entity.end, number) for number, entity in enumerate(entities)]
    starts, ends = [0] * len(entities), [0] * len(entities)
    parts: list[str] = []
    length = done = 0
    for at, opens, _, signed in sorted(edges):
        number = abs(signed)
        entity = entities[number]
        tag = TAGS.get(entity.kind, "gdo")
        words = text[done:at]
        length, done = length + len(words), at
        written = f"<{tag} {' '.join(entity.ids)}>" if opens else f"</{tag}>"
        parts += [words, written]
        if opens:
            starts[number] = length + len(written)
        else:
            ends[number] = length
        length += len(written)
    spans = [replace(entity, start=starts[n], end=ends[n]) for n, entity in enumerate(entities)]
    return "".join([*parts, text[done:]]), spans
