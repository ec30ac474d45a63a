"""Encode a dataset's stories for storage: images as arrays, the problems of each frame, and optional markup."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...api import Entity, Frame, Rejected, Story, is_blank, is_file, nfc, shown
from ...config.choices import Resize
from ...files.strict_json import to_json, undefined_as_null
from ...system_errors import refuse_exhaustion
from ..duplicates import digest_image, perceptual_hash
from ..images import ImageProblem, Picture, read_picture


@dataclass(frozen=True)
class Still:
    """A decoded image, and what tells it from others."""

    picture: Picture
    digest: bytes
    """16 bytes, of the prepared pixels."""
    hash: int
    """Perceptual: see `images.perceptual_hash`."""


@dataclass(frozen=True)
class Digitised:
    """A story whose images are decoded."""

    record: dict[str, Any]
    """What `stored` gives, with the problems of its frames filled in."""
    stills: list[Still | None]
    """One a frame."""


def stored(item: Story | Rejected) -> dict[str, Any]:
    """Return what is stored of a story besides its images, as JSON. Frames' "image" and "problem" are None yet."""
    if isinstance(item, Rejected):
        return {"rejected": {"where": shown(item.where), "code": item.code, "detail": shown(item.detail)}}
    return {
        "id": nfc(shown(item.id)),
        "group": item.group and nfc(shown(item.group)),
        "split": item.split,
        "source_characters": item.source_characters,
        "analysis": undefined_as_null(dataclasses.asdict(item.analysis)) if item.analysis else None,
        "problems": [{"frame": note.frame, "code": note.code, "detail": shown(note.detail)} for note in item.notes],
        "frames": [_stored_frame(frame) for frame in item.frames],
    }


def _stored_frame(frame: Frame) -> dict[str, Any]:
    # The text as it is, since entities point into it; one that is no Unicode cannot be kept.
    text = frame.text if frame.text and not is_blank(frame.text) and _is_unicode(frame.text) else None
    entities = [[entity.kind, list(entity.ids), entity.start, entity.end] for entity in frame.entities]
    return {"text": text, "entities": entities if text else [], "image": None, "problem": None}


def content_of(item: Story | Rejected) -> bytes:
    """Digest all that is stored of a story, its encoded images included. Decodes nothing."""
    digest = hashlib.sha256(to_json(stored(item), sort_keys=True).encode())
    if isinstance(item, Story):
        for frame in item.frames:
            digest.update(_picture_digest(frame.image))
    return digest.digest()


def _picture_digest(image: Path | bytes | None) -> bytes:
    if image is None:
        return b"none"
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    try:
        if not is_file(image):
            return b"no file"
        with image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        refuse_exhaustion(error, image)
        return f"unreadable {error.errno}".encode()


def digitise(story: Story, *, size: int, resize: Resize) -> Digitised:
    """Decode a story's images. A frame that lacks a half, or whose image is bad, is marked with its problem."""
    record = stored(story)
    stills: list[Still | None] = []
    for index, (frame, entry) in enumerate(zip(story.frames, record["frames"], strict=True)):
        still: Still | None = None
        if entry["text"] is None:
            entry["problem"] = "missing_text"
            if frame.text and not is_blank(frame.text):
                entry["problem"] = "unreadable_text"
                why = "the text holds half of a character (a lone surrogate); write it anew as UTF-8"
                record["problems"].append({"frame": index, "code": "unreadable_text", "detail": why})
        if frame.image is None:
            entry["problem"] = "missing_image"
        else:
            where = str(frame.image) if isinstance(frame.image, Path) else f"story {story.id}, frame {index + 1}"
            try:
                picture = read_picture(frame.image, where=where, size=size, resize=resize)
                digest = bytes.fromhex(digest_image(picture.pixels))
                still = Still(picture, digest, perceptual_hash(picture.pixels))
            except ImageProblem as error:
                entry["problem"] = error.code
                record["problems"].append({"frame": index, "code": error.code, "detail": shown(str(error))})
        stills.append(still)
    return Digitised(record, stills)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
